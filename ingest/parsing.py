"""Parser processes: they read and split files on all cores; a hang or crash costs only one file.

Workers are plain subprocesses that exchange JSON lines over pipes: nothing from a hostile file is unpickled, and unlike
with multiprocessing the main module of the caller (the command, or a Streamlit page) is not imported again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ingest import errors
from ingest.config import IngestConfig
from ingest.errors import IngestError, ParserLimit, UnreadablePDF
from ingest.pdf.read import PDF, Page, read_pdf
from ingest.text.chunks import Chunk, page_heading, split
from quire import QuireError, available_cores

log = logging.getLogger(__name__)

_FILES_A_PROCESS = 25  # then a new process starts, so that damage done by one file does not last
_LOOK_AHEAD = 2  # files parsed beyond one a worker; limits what waits in memory for the embedder
_POLL_SECONDS = 0.1  # between two checks of `cancel`


@dataclass(frozen=True)
class Job:
    """One file to parse; `document` is its name in messages and chunks."""

    path: Path
    document_id: str
    document: str
    sha256: str
    password: str | None = None


@dataclass(frozen=True)
class Parsed:
    """A parsed file: its pages and their chunks."""

    pdf: PDF
    chunks: list[Chunk]


def parse_all(
    jobs: Iterable[Job], *, workers: int, config: IngestConfig, cancel: threading.Event | None = None
) -> Iterator[tuple[Job, Parsed | QuireError]]:
    """Yield every job with its result, in the order given; `workers` 0 means one per core.

    Jobs are taken from `jobs` in the caller's thread as workers become free. The workers are killed if `cancel` is set,
    if the caller stops iterating, or if the caller's process ends.
    """
    pool = _Pool(workers or available_cores(), config)
    waiting: deque[tuple[Job, _Slot]] = deque()
    source = iter(jobs)
    more = True
    try:
        while more or waiting:
            while more and len(waiting) < pool.size + _LOOK_AHEAD:
                job = next(source, None)
                if job is None:
                    more = False
                else:
                    waiting.append((job, pool.submit(job)))
            if not waiting:
                return
            job, slot = waiting[0]
            while not slot.done.wait(_POLL_SECONDS):
                if cancel is not None and cancel.is_set():
                    return
            waiting.popleft()
            yield job, slot.outcome
    finally:
        pool.close()


class _Slot:
    """The place for the result of one job."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.outcome: Parsed | QuireError = UnreadablePDF("not parsed")


class _Pool:
    """Workers, each a thread with a process. The threads are daemons, so that the program can end at any time."""

    def __init__(self, size: int, config: IngestConfig) -> None:
        self.size = size
        self._config = config
        self._jobs: queue.SimpleQueue[tuple[Job, _Slot] | None] = queue.SimpleQueue()
        self._workers: list[_Worker] = []

    def submit(self, job: Job) -> _Slot:
        slot = _Slot()
        self._jobs.put((job, slot))
        if len(self._workers) < self.size:
            worker = _Worker(self._config)
            self._workers.append(worker)
            threading.Thread(target=self._run, args=(worker,), daemon=True, name="quire-parser").start()
        return slot

    def _run(self, worker: _Worker) -> None:
        while (item := self._jobs.get()) is not None:
            job, slot = item
            try:
                slot.outcome = worker.parse(job)
            except QuireError as exc:
                slot.outcome = exc
            except Exception as exc:  # the caller must get a result, or it waits for ever
                log.exception("%s", job.path)
                slot.outcome = UnreadablePDF(f"{job.document}: {type(exc).__name__}: {exc}", "please report this file")
            slot.done.set()
        worker.stop()

    def close(self) -> None:
        for worker in self._workers:
            worker.stop()
        for _ in self._workers:
            self._jobs.put(None)


class _Worker:
    """One parser process, started when needed and again after a limit, a crash or _FILES_A_PROCESS files."""

    def __init__(self, config: IngestConfig) -> None:
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self._files = 0
        self._stopped = False
        self._lock = threading.Lock()  # stop() comes from another thread than parse()

    def parse(self, job: Job) -> Parsed:
        process = self._started()
        request = {
            "path": str(job.path),
            "document_id": job.document_id,
            "document": job.document,
            "sha256": job.sha256,
            "password": job.password,
            "size": self._config.chunk_size,
            "overlap": self._config.chunk_overlap,
            "max_pages": self._config.parse_pages,
        }
        late = threading.Event()

        def stop_late() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._config.parse_seconds, stop_late)
        timer.daemon = True
        timer.start()
        try:
            answer = _exchange(process, request)
        finally:
            timer.cancel()
        self._files += 1
        if answer is None:
            self._end()
            process.wait()  # stop() in another thread may have killed it before its exit code is known
            raise self._death_error(job, process, late=late.is_set())
        if answer.get("restart") or self._files >= _FILES_A_PROCESS:
            self._end()
        if "error" in answer:
            kind = getattr(errors, answer["error"])
            raise kind(answer["message"], answer["hint"])
        return _parsed(job, answer)

    def stop(self) -> None:
        """End the process, even in the middle of a file, and start no other."""
        with self._lock:
            self._stopped = True
        self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise UnreadablePDF("parsing was stopped", "run the same command again to continue")
            if self._process is None:
                self._process = _start(self._config.parse_memory_mb)
                self._files = 0
            return self._process

    def _end(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            # closing stdin may write to the dead process
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]

    def _death_error(self, job: Job, process: subprocess.Popen[bytes], *, late: bool) -> IngestError:
        if late:
            return ParserLimit(
                f"{job.document}: reading took longer than {self._config.parse_seconds:g} s",
                "raise parse_seconds in quire.toml if the file is trusted",
            )
        code = process.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return ParserLimit(
            f"{job.document}: the parser process ended while reading it ({how}): it needed more memory than the "
            f"{self._config.parse_memory_mb} MB it may use, was killed, or crashed",
            "if the file is trusted, raise parse_memory_mb in quire.toml and try again",
        )


def _exchange(process: subprocess.Popen[bytes], request: dict[str, Any]) -> dict[str, Any] | None:
    """Return the answer of the worker, None if it died first."""
    assert process.stdin is not None and process.stdout is not None  # noqa: S101  # both are pipes, see _start
    try:
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except (OSError, ValueError):  # ValueError: closed by stop()
        return None
    if not line.endswith(b"\n"):
        return None
    answer: dict[str, Any] = json.loads(line)
    return answer


def _start(memory_mb: int) -> subprocess.Popen[bytes]:
    # -P: modules are not searched for in the working folder. The root is only needed if quire is not installed.
    root = str(Path(__file__).resolve().parents[1])
    code = (
        "import sys; root = sys.argv[1]; root in sys.path or sys.path.insert(0, root); "
        "from ingest.parsing import serve; serve(int(sys.argv[2]))"
    )
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, root, str(memory_mb)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},  # unused arenas would count as address space
        start_new_session=True,  # Ctrl-C reaches only the caller, which ends its workers
    )


def _parsed(job: Job, answer: dict[str, Any]) -> Parsed:
    """Build pages and chunks from plain JSON values."""
    raw = answer["pdf"]
    pages = tuple(
        Page(**{**page, "headings": tuple(page["headings"]), "running_lines": tuple(map(tuple, page["running_lines"]))})
        for page in raw["pages"]
    )
    pdf = PDF(
        pages=pages,
        title=raw["title"],
        parser=raw["parser"],
        outline=tuple((level, title, number) for level, title, number in raw["outline"]),
        attachments=tuple(raw["attachments"]),
        encrypted=raw["encrypted"],
        notices=tuple(raw["notices"]),
    )
    headings = [page_heading(page) for page in pages]
    chunks = [
        Chunk(
            id=chunk_id,
            document_id=job.document_id,
            document=job.document,
            page=number,
            page_label=pages[number - 1].label,
            start=start,
            end=end,
            text=pages[number - 1].text[start:end],
            heading=headings[number - 1],
            running_lines=tuple((a, b) for a, b in running_lines),
            parser=pdf.parser,
        )
        for chunk_id, number, start, end, running_lines in answer["chunks"]
    ]
    return Parsed(pdf, chunks)


def serve(memory_mb: int) -> None:
    """Answer requests on stdin until it ends; this is what a worker process runs."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is not an answer
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, requests), daemon=True).start()
    import pypdf  # noqa: F401  # imported before memory is limited and before the time of a file starts
    import pypdfium2  # noqa: F401

    _limit_memory(memory_mb)
    while True:
        answer = _answer(json.loads(requests.get()))
        answers.write(answer)
        answers.flush()


def _listen(pipe: IO[bytes], requests: queue.SimpleQueue[bytes]) -> None:
    """Queue requests; when the pipe ends because the caller died, exit at once, even in the middle of a file."""
    for line in pipe:
        requests.put(line)
    os._exit(0)


def _limit_memory(memory_mb: int) -> None:
    """Limit the address space to its present size plus `memory_mb`; Windows cannot."""
    try:
        import resource
    except ImportError:
        return
    try:
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:  # macOS has no /proc, and its kernel does not enforce the limit
        now = 1 << 30
    limit = now + (memory_mb << 20)
    with contextlib.suppress(ValueError, OSError):  # a lower hard limit is already set
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(request: dict[str, Any]) -> bytes:
    try:
        return json.dumps(_read(request)).encode() + b"\n"
    except MemoryError:
        answer = _error(ParserLimit("reading it needs more memory than is allowed", "raise parse_memory_mb"), request)
    except RecursionError:
        answer = _error(
            UnreadablePDF("its objects are nested too deeply", "open it in a viewer and save a copy"), request
        )
    except QuireError as exc:
        answer = _error(exc, request)
    except Exception as exc:  # this file fails, not the run
        answer = _error(UnreadablePDF(f"{type(exc).__name__}: {exc}", "please report this file"), request)
    return json.dumps(answer).encode() + b"\n"


def _read(request: dict[str, Any]) -> dict[str, Any]:
    pdf = read_pdf(Path(request["path"]), password=request["password"], max_pages=request["max_pages"])
    chunks = split(
        pdf,
        document_id=request["document_id"],
        document=request["document"],
        sha256=request["sha256"],
        size=request["size"],
        overlap=request["overlap"],
    )
    return {
        "pdf": {**vars(pdf), "pages": [vars(page) for page in pdf.pages]},
        # text and names are already in the pages and in the request
        "chunks": [(c.id, c.page, c.start, c.end, c.running_lines) for c in chunks],
    }


def _error(exc: QuireError, request: dict[str, Any]) -> dict[str, Any]:
    path = Path(request["path"])
    message = exc.message.replace(str(path), request["document"]).replace(path.name, request["document"])
    if request["document"] not in message:
        message = f"{request['document']}: {message}"
    return {
        "error": type(exc).__name__,
        "message": message,
        "hint": exc.hint,
        "restart": isinstance(exc, ParserLimit),  # memory is fragmented or short: the next file gets a new process
    }

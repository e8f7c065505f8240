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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest import errors
from ingest.config import IngestConfig
from ingest.errors import IngestError, ParserLimit, UnreadablePDF
from ingest.ocr import engine as engines
from ingest.ocr.journal import Journal
from ingest.ocr.recognize import OcrProgress
from ingest.pdf.read import PDF, Page
from ingest.text.chunks import Chunk, page_heading
from quire import QuireError, available_cores

log = logging.getLogger(__name__)

_FILES_A_PROCESS = 25  # then a new process starts, so that damage done by one file does not last
_LOOK_AHEAD = 2  # files parsed beyond one a worker; limits what waits in memory for the embedder
_POLL_SECONDS = 0.1  # between two checks of `cancel`
_ENGINE_SECONDS = 60  # to load the OCR engine, and to end a reading that takes too long
_MAX_BAD_PAGES = 3  # of a document, on which the parser process died during OCR


@dataclass(frozen=True)
class Job:
    """One file to parse; `document` is its name in messages and chunks."""

    path: Path
    document_id: str
    document: str
    sha256: str
    password: str | None = None
    journal: str = ""  # key of the journal of OCR; "" = sha256


@dataclass(frozen=True)
class Parsed:
    """A parsed file: its pages and their chunks."""

    pdf: PDF
    chunks: list[Chunk]
    layered: Path | None = None  # a copy with the text that OCR read


def parse_all(
    jobs: Iterable[Job],
    *,
    workers: int,
    config: IngestConfig,
    cancel: threading.Event | None = None,
    on_ocr: Callable[[Job, OcrProgress], None] | None = None,
) -> Iterator[tuple[Job, Parsed | QuireError]]:
    """Yield every job with its result, in the order given; `workers` 0 means one per core.

    Jobs are taken from `jobs` in the caller's thread as workers become free, and `on_ocr` is called in it. The workers are killed if `cancel` is set,
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
                for one, its in waiting:
                    if on_ocr is not None and (progress := its.new_progress()) is not None:
                        on_ocr(one, progress)
            waiting.popleft()
            yield job, slot.outcome
    finally:
        pool.close()


class _Slot:
    """The place for the result of one job."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.outcome: Parsed | QuireError = UnreadablePDF("not parsed")
        self._progress: OcrProgress | None = None

    def report(self, progress: OcrProgress) -> None:
        """Keep the progress of OCR for the caller's thread."""
        self._progress = progress

    def new_progress(self) -> OcrProgress | None:
        """Return progress that was not returned yet."""
        progress, self._progress = self._progress, None
        return progress


class _Pool:
    """Workers, each a thread with a process. The threads are daemons, so that the program can end at any time."""

    def __init__(self, size: int, config: IngestConfig) -> None:
        self.size = size
        self._config = config
        self._engine = engines.ocr_engine(config.ocr)
        self._jobs: queue.SimpleQueue[tuple[Job, _Slot] | None] = queue.SimpleQueue()
        self._workers: list[_Worker] = []

    def submit(self, job: Job) -> _Slot:
        slot = _Slot()
        self._jobs.put((job, slot))
        if len(self._workers) < self.size:
            worker = _Worker(self._config, self._engine)
            self._workers.append(worker)
            threading.Thread(target=self._run, args=(worker,), daemon=True, name="quire-parser").start()
        return slot

    def _run(self, worker: _Worker) -> None:
        while (item := self._jobs.get()) is not None:
            job, slot = item
            try:
                threads = max(1, available_cores() // len(self._workers))
                slot.outcome = worker.parse(job, threads, slot.report)
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

    def __init__(self, config: IngestConfig, engine: str) -> None:
        self._config = config
        self._engine = engine  # of OCR, "" for none
        self._process: subprocess.Popen[bytes] | None = None
        self._files = 0
        self._stopped = False
        self._lock = threading.Lock()  # stop() comes from another thread than parse()

    def parse(self, job: Job, threads: int, report: Callable[[OcrProgress], None]) -> Parsed:
        """Return what is in a file; a page that kills the process during OCR is given up, and the others are read."""
        request = {
            "path": str(job.path),
            "document_id": job.document_id,
            "document": job.document,
            "sha256": job.sha256,
            "password": job.password,
            "size": self._config.chunk_size,
            "overlap": self._config.chunk_overlap,
            "max_pages": self._config.parse_pages,
            "engine": self._engine,
            "threads": threads,
            "page_seconds": self._config.ocr_page_seconds,
            "home": str(self._config.home),
            "journal": job.journal or job.sha256,
        }
        for attempt in range(_MAX_BAD_PAGES + 1):
            process = self._started()
            exchange = _Exchange(process, self._config, report)
            answer = exchange.answer_to(request)
            self._files += 1
            if answer is not None:
                break
            self._end()
            process.wait()  # stop() in another thread may have killed it before its exit code is known
            died = self._death_error(job, process, late=exchange.late.is_set())
            if not exchange.page or self._stopped or attempt == _MAX_BAD_PAGES:
                raise died
            reason = died.message.removeprefix(f"{job.document}: ")
            Journal(self._config.home, job.journal or job.sha256, self._engine).give_up(exchange.page, reason)
        assert answer is not None  # noqa: S101  # the loop ends with an answer or an error
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
                self._process = _start(self._config.parse_memory_mb, self._config.ocr_memory_mb)
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


class _Exchange:
    """One request to a worker and its answer, with a time limit that each page read by OCR starts again."""

    def __init__(
        self, process: subprocess.Popen[bytes], config: IngestConfig, report: Callable[[OcrProgress], None]
    ) -> None:
        self._process, self._config, self._report = process, config, report
        self._timer: threading.Timer | None = None
        self.late = threading.Event()
        self.page = 0  # that OCR reads now

    def answer_to(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer of the worker, None if it died first or was late."""
        self._limit(self._config.parse_seconds)
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101  # pipes, see _start
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            while (line := self._process.stdout.readline()).endswith(b"\n"):
                answer: dict[str, Any] = json.loads(line)
                if "ocr" not in answer:
                    return answer
                progress = OcrProgress(**answer["ocr"])
                self.page = progress.page
                of_page = self._config.ocr_page_seconds + _ENGINE_SECONDS
                self._limit(of_page if progress.page else self._config.parse_seconds)
                self._report(progress)
        except (OSError, ValueError):  # ValueError: closed by stop()
            pass
        finally:
            if self._timer is not None:
                self._timer.cancel()
        return None

    def _limit(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(seconds, self._stop_late)
        self._timer.daemon = True
        self._timer.start()

    def _stop_late(self) -> None:
        self.late.set()
        self._process.kill()


def _start(memory_mb: int, ocr_memory_mb: int) -> subprocess.Popen[bytes]:
    # -P: modules are not searched for in the working folder. The root is only needed if quire is not installed.
    root = str(Path(__file__).resolve().parents[1])
    code = (
        "import sys; root = sys.argv[1]; root in sys.path or sys.path.insert(0, root); "
        "from ingest.parser_process import serve; serve(*map(int, sys.argv[2:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, root, str(memory_mb), str(ocr_memory_mb)],
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
            parser=pages[number - 1].ocr or pdf.parser,
        )
        for chunk_id, number, start, end, running_lines in answer["chunks"]
    ]
    return Parsed(pdf, chunks, Path(answer["layered"]) if answer["layered"] else None)

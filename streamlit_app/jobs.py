"""Ingests in the background: one queue per library, the progress of each file, and the reports."""

from __future__ import annotations

import contextlib
import itertools
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Literal

from ingest import UPLOAD, Cancelled, Embedder, IngestConfig, IngestError, IngestReport, Progress, file_name, ingest
from quire import QuireError, pluralize
from streamlit_app.text import sentence

_MAX_REPORTS = 20  # of finished jobs; older ones are dropped
_STALE_SECONDS = 86_400  # uploads of a killed process are deleted when they are this old

Status = Literal["waiting", "running", "done", "stopped", "failed"]
ReportState = Literal["added", "replaced", "unchanged", "failed", "locked"]


@dataclass
class FileState:
    """The progress of one file or link."""

    name: str
    stage: str = "waiting"
    fraction: float = 0.0


@dataclass(frozen=True)
class ReportLine:
    """The outcome for one file; `state` is locked if it needs a password."""

    name: str
    state: ReportState
    text: str
    hint: str = ""


@dataclass
class Job:
    """One ingest; its own thread writes it, others only read it."""

    id: int
    library: str
    files: dict[str, FileState]  # by file name, as progress reports them
    links: tuple[str, ...]
    uploads: tuple[tuple[str, Path], ...]
    folder: Path  # holds the uploads until the ingest ends, locked files until the job is dismissed
    password: str | None = None
    status: Status = "waiting"
    seconds_left: float | None = None
    documents_done: int = 0
    failure: QuireError | None = None
    report: IngestReport | None = None
    locked: dict[str, bool] = field(default_factory=dict)  # source: whether the given password was wrong
    cancel: threading.Event = field(default_factory=threading.Event)
    finished_at: float = 0.0

    @property
    def active(self) -> bool:
        """Return whether the job is waiting or running."""
        return self.status in ("waiting", "running")

    def lines(self) -> list[ReportLine]:
        """Return one line for each file, [] before the ingest ends."""
        if self.report is None:
            return []
        report = self.report
        lines = [ReportLine(s.document, "added", _size(s.pages, s.chunks, s.notices)) for s in report.added]
        lines += [ReportLine(s.document, "replaced", _size(s.pages, s.chunks, s.notices)) for s in report.replaced]
        lines += [ReportLine(name, "unchanged", "already in the library") for name in report.unchanged]
        for failed in report.failed:
            shown = failed.document.removeprefix(UPLOAD)
            if failed.document in self.locked:
                wrong = self.locked[failed.document]
                text = "wrong password, try again" if wrong else "it is encrypted, enter its password"
                lines.append(ReportLine(shown, "locked", text))
            else:
                # the line starts with the name already
                reason = failed.reason.removeprefix(f"{shown}: ").removeprefix(f"{shown} ")
                lines.append(ReportLine(shown, "failed", reason, failed.hint))
        return lines


class Jobs:
    """One per process; safe to use from several threads."""

    def __init__(
        self, home: Path, changed: Callable[[str], None], embedder: Callable[[], Embedder] | None = None
    ) -> None:
        self._uploads = home / "uploads"
        self._embedder = embedder  # returns the one that questions use; None: each ingest loads its own
        self._changed = changed  # called with the library after each job
        self._ids = itertools.count(1)
        self._jobs: dict[int, Job] = {}
        self._queues: dict[str, queue.SimpleQueue[tuple[Job, IngestConfig]]] = {}
        self._lock = threading.Lock()
        self._sweep()

    def start(self, config: IngestConfig, files: Sequence[tuple[str, BinaryIO]], links: Sequence[str] = ()) -> Job:
        """Queue files and links for ingest into the library of `config`.

        File names are shown and never used as paths. Raises IngestError if the files cannot be written.
        """
        folder = self._folder()
        uploads = []
        for name, stream in files:
            handle = tempfile.NamedTemporaryFile(dir=folder, suffix=".pdf", delete=False)  # noqa: SIM115
            try:
                with handle:
                    shutil.copyfileobj(stream, handle)
            except OSError as exc:
                shutil.rmtree(folder, ignore_errors=True)
                raise IngestError(
                    f"cannot save {name}: {exc.strerror}", "free some disk space, then add it again"
                ) from exc
            uploads.append((name, Path(handle.name)))
        return self._enqueue(config, folder, tuple(_distinct(uploads)), tuple(dict.fromkeys(links)), None)

    def unlock(self, job: Job, config: IngestConfig, name: str, password: str) -> Job:
        """Retry an encrypted file of a finished job with a password; returns the new job."""
        source = next(s for s in job.locked if s.removeprefix(UPLOAD) == name)
        folder = self._folder()
        uploads = []
        for upload, path in job.uploads:
            if UPLOAD + upload == source and path.exists():
                copy = folder / path.name
                shutil.copyfile(path, copy)
                uploads.append((upload, copy))
        links = tuple(link for link in job.links if link == source)
        if not uploads and not links:
            raise IngestError(f"{name} is no longer stored here", "add the file again")
        return self._enqueue(config, folder, tuple(uploads), links, password, after=job)

    def of(self, library: str) -> list[Job]:
        """Return a library's jobs, newest first."""
        with self._lock:
            return [job for job in reversed(self._jobs.values()) if job.library == library]

    def stop(self, job: Job) -> None:
        """Stop a job after its current step; what is stored so far is kept."""
        job.cancel.set()
        if job.status == "waiting":
            job.status = "stopped"

    def dismiss(self, job: Job) -> None:
        """Drop a finished job with its report and its uploads."""
        with self._lock:
            self._jobs.pop(job.id, None)
        shutil.rmtree(job.folder, ignore_errors=True)

    def _enqueue(
        self,
        config: IngestConfig,
        folder: Path,
        uploads: tuple[tuple[str, Path], ...],
        links: tuple[str, ...],
        password: str | None,
        after: Job | None = None,
    ) -> Job:
        names = [name for name, _ in uploads] + [file_name(link) for link in links]
        job = Job(
            id=next(self._ids),
            library=config.library,
            files={name: FileState(name) for name in names},
            links=links,
            uploads=uploads,
            folder=folder,
            password=password,
        )
        if after is not None:
            self._remove_from_report(after, job)
        with self._lock:
            self._jobs[job.id] = job
            waiting = self._queues.get(config.library)
            if waiting is None:
                waiting = self._queues[config.library] = queue.SimpleQueue()
                threading.Thread(
                    target=self._work, args=(waiting,), daemon=True, name=f"ingest {config.library}"
                ).start()
            waiting.put((job, config))
        self._drop_oldest()
        return job

    def _remove_from_report(self, old: Job, new: Job) -> None:
        """Remove a file that is retried from the old report, since the new one lists it."""
        again = {UPLOAD + name for name, _ in new.uploads} | set(new.links)
        assert old.report is not None  # noqa: S101 - only a finished job names locked files
        failed = [f for f in old.report.failed if f.document not in again]
        old.report = replace(old.report, failed=failed)
        _drop_uploads(old)
        if not old.lines():
            self.dismiss(old)

    def _work(self, waiting: queue.SimpleQueue[tuple[Job, IngestConfig]]) -> None:
        while True:
            job, config = waiting.get()
            if job.cancel.is_set():
                job.status = "stopped"
            else:
                self._run(job, config)
            job.finished_at = time.time()
            with contextlib.suppress(Exception):  # the next job of this library must still run
                self._changed(job.library)

    def _run(self, job: Job, config: IngestConfig) -> None:
        job.status = "running"
        for state in job.files.values():
            state.stage = "reading"

        def note_locked(source: str, wrong: bool) -> None:
            job.locked[source] = wrong  # it fails, and the report asks for its password: the other files need not wait

        try:
            job.report = ingest(
                job.links,
                config,
                password=job.password,
                ask_password=note_locked,
                uploads=job.uploads,
                progress=lambda progress: _note(job, progress),
                cancel=job.cancel,
                embedder=self._embedder() if self._embedder is not None else None,
            )
            job.status = "done"
        except Cancelled:
            job.status = "stopped"
        except QuireError as exc:
            job.failure, job.status = exc, "failed"
        except Exception as exc:  # a bug must not end the queue or leave the job running forever
            job.failure = IngestError(f"{type(exc).__name__}: {exc}", "this is a bug: please report it")
            job.status = "failed"
        job.password = None  # not kept with the report
        _drop_uploads(job)

    def _folder(self) -> Path:
        try:
            self._uploads.mkdir(parents=True, exist_ok=True, mode=0o700)
            return Path(tempfile.mkdtemp(dir=self._uploads))
        except OSError as exc:
            raise IngestError(
                f"cannot write to {self._uploads}: {exc.strerror}", "check the folder's permissions"
            ) from exc

    def _drop_oldest(self) -> None:
        with self._lock:
            finished = [job for job in self._jobs.values() if not job.active]
        for job in finished[:-_MAX_REPORTS]:
            self.dismiss(job)

    def _sweep(self) -> None:
        for folder in self._uploads.glob("*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - folder.stat().st_mtime > _STALE_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)


def _drop_uploads(job: Job) -> None:
    """Delete a job's uploads, except files that still need a password."""
    waiting = {line.name for line in job.lines() if line.state == "locked"}
    for name, path in job.uploads:
        if name not in waiting:
            path.unlink(missing_ok=True)
    if not waiting:
        shutil.rmtree(job.folder, ignore_errors=True)


def _note(job: Job, progress: Progress) -> None:
    job.seconds_left = progress.seconds_left
    job.documents_done = progress.documents_done
    state = job.files.get(progress.document) or job.files.get(file_name(progress.document) if progress.document else "")
    if state is not None:
        state.stage, state.fraction = progress.stage, progress.fraction


def _distinct(uploads: Sequence[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """Number files of the same name: with one name they would be one document."""
    seen: dict[str, int] = {}
    result = []
    for name, path in uploads:
        name = name.replace("\\", "/").rsplit("/", 1)[-1].strip() or "upload.pdf"
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            stem, dot, ending = name.rpartition(".")
            name = f"{stem or ending} ({seen[name]}){dot}{ending if stem else ''}"
        result.append((name, path))
    return result


def _size(pages: int, chunks: int, notices: Sequence[str]) -> str:
    words = f"{pluralize(pages, 'page')}, {pluralize(chunks, 'passage')}"
    return ". ".join([words, *(sentence(notice.rstrip(".")) for notice in notices)])

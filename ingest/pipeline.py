"""The order of an ingest: acquire, parse, embed, store."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from ingest.config import IngestConfig
from ingest.embed.cache import CHUNKS_PER_SAVE, EmbeddingCache, embed_texts, embedding_texts, text_key
from ingest.embed.identity import Embedder, Vectors
from ingest.embed.load import load_embedder
from ingest.errors import EmbedderUnavailable, IngestError, PasswordRequired, StoreUnreachable
from ingest.files.links import Fetched, fetch_link
from ingest.files.names import UPLOAD, file_name
from ingest.files.pdf_store import PdfStore
from ingest.files.sources import Candidate, Failed, collect
from ingest.library import incomplete_documents, library_key, make_identity, rename_documents, unique_names
from ingest.ocr import engine as engines
from ingest.ocr.journal import Journal, sweep
from ingest.ocr.layer import remove_layer
from ingest.ocr.recognize import LAYERED, OcrProgress
from ingest.parsing import Job, Parsed, parse_all
from ingest.pdf.decrypt import decrypted_copy
from ingest.pdf.read import ocr_remedies
from ingest.record import DECRYPTED, document_record
from ingest.report import IngestReport, Progress, ProgressMeter, Stored
from ingest.store.contract import Document, Store
from ingest.store.opening import open_store
from quire import QuireError, sha256_of_file

AskPassword = Callable[[str, bool], str | None]  # (document, the last one was wrong) -> password, None to give up


class Cancelled(IngestError):
    """The ingest was stopped; what is stored stays, and the next run continues from there."""


def ingest(
    arguments: Sequence[str],
    config: IngestConfig,
    *,
    password: str | None = None,
    ask_password: AskPassword | None = None,
    allow_private: bool = False,
    uploads: Sequence[tuple[str, Path]] = (),
    progress: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
    embedder: Embedder | None = None,
) -> IngestReport:
    """Add files, folders and links to the library of `config` and report on each of them.

    `password` opens encrypted PDFs; `ask_password` is called if it does not. `allow_private` lets links lead to private
    addresses. `uploads` are (name as given, path of the bytes). `progress` is called in this thread. `embedder` is one
    that is loaded already; None loads the one of `config`.

    Raises UsageError, IngestError (the OCR engine that is set is missing), EmbedderUnavailable, IdentityMismatch or StoreUnreachable before any file is read; what goes wrong
    with one file is in the report. Raises Cancelled once `cancel` is set.
    """
    started = time.monotonic()
    candidates, failed, notices = collect(arguments)
    candidates += [Candidate(UPLOAD + _upload_name(name), path) for name, path in uploads]
    report = IngestReport(config.library, failed=failed, notices=notices)
    if candidates:
        meter = ProgressMeter(progress, documents=len(candidates), size=sum(_size(c.path) for c in candidates))
        with _open_run(config, report, meter, cancel, embedder) as run:
            acquire_one = partial(acquire, run, allow_private=allow_private)
            _ingest_all(run, candidates, acquire_one, password, ask_password)
    report.seconds = round(time.monotonic() - started, 3)
    return report


def reocr(
    config: IngestConfig,
    documents: Sequence[Document],
    *,
    progress: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
    embedder: Embedder | None = None,
) -> IngestReport:
    """Have OCR read the pictures in stored documents (again), and replace their passages.

    Raises what `ingest` raises, and IngestError if no OCR engine is installed.
    """
    started = time.monotonic()
    if not engines.ocr_engine(config.ocr):
        raise IngestError("no OCR engine is installed, or ocr is off", ocr_remedies())
    report = IngestReport(config.library)
    candidates = [Candidate(document.source, None) for document in documents]
    meter = ProgressMeter(progress, documents=len(documents), size=sum(document.size_bytes for document in documents))
    with _open_run(config, report, meter, cancel, embedder) as run:
        _ingest_all(run, candidates, partial(_acquire_stored, run), None, None)
    report.seconds = round(time.monotonic() - started, 3)
    return report


@dataclass
class _Run:
    """What the steps of one ingest share."""

    config: IngestConfig
    embedder: Embedder
    store: Store
    cache: EmbeddingCache
    pdfs: PdfStore
    report: IngestReport
    meter: ProgressMeter
    cancel: threading.Event | None
    documents: dict[str, Document]  # in the library, by id
    engine: str  # of OCR, "" for none
    incomplete: set[str]  # ids: a killed server may lose what it acknowledged, so such a document is never "unchanged"
    settled: set[str] = field(default_factory=set)  # sources that are stored or unchanged

    def check_cancel(self) -> None:
        """Raise Cancelled if the caller asked to stop."""
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled("stopped", "run the same command again to continue")

    def can_read_more(self, document: Document) -> bool:
        """Return whether pages without text were not shown yet to the OCR engine that is there now."""
        return bool(document.scanned_pages and self.engine) and (
            document.extra.get("ocr", "").split(" ")[0] != self.engine.split(" ")[0]
        )

    def fail(self, source: str, exc: QuireError) -> None:
        """Report a source as failed."""
        hint = exc.hint
        if source in {document.source for document in self.documents.values()}:
            hint = f"{hint}; the version stored before is kept" if hint else "the version stored before is kept"
        self.report.failed.append(Failed(source, exc.message, hint))

    def give_up(self, candidates: Sequence[Candidate], exc: QuireError) -> None:
        """Report every candidate that was not tried because the store or the embedder is gone."""
        settled = {failed.document for failed in self.report.failed} | self.settled
        for candidate in candidates:
            if candidate.source not in settled:
                self.report.failed.append(Failed(candidate.source, f"not tried: {exc.message}", exc.hint))


@dataclass(frozen=True)
class _Acquired:
    """One candidate with its temporary copy, the hash and size of the bytes, and the document it replaces."""

    candidate: Candidate
    copy: Path
    sha256: str
    size: int
    old: Document | None
    file_name: str = ""  # as the server of a link gave it
    journal: str = ""  # key of the journal of OCR; "" = the hash of the bytes
    decrypted: bool = False  # the copy is of a document that was encrypted

    def discard(self) -> None:
        """Delete the temporary copy, and the one that OCR may have made of it."""
        self.copy.unlink(missing_ok=True)
        self.copy.with_suffix(LAYERED).unlink(missing_ok=True)


@contextlib.contextmanager
def _open_run(
    config: IngestConfig,
    report: IngestReport,
    meter: ProgressMeter,
    cancel: threading.Event | None,
    embedder: Embedder | None,
) -> Iterator[_Run]:
    engine = engines.ocr_engine(config.ocr)
    embedder = embedder or load_embedder(config)
    with contextlib.closing(open_store(config, create=True)) as store:
        store.set_identity(make_identity(embedder, config))
        with contextlib.closing(EmbeddingCache(config.home, embedder.identity())) as cache:
            pdfs = PdfStore(config.home)
            pdfs.sweep()
            sweep(config.home)
            documents = {document.id: document for document in store.documents()}
            incomplete = {document.id for document, _ in incomplete_documents(store)}
            yield _Run(config, embedder, store, cache, pdfs, report, meter, cancel, documents, engine, incomplete)


def _ingest_all(
    run: _Run,
    candidates: Sequence[Candidate],
    acquired_one: Callable[[Candidate], _Acquired | None],
    password: str | None,
    ask_password: AskPassword | None,
) -> None:
    """Take every candidate through all steps, in the order given; this loop is the order of an ingest.

    Parser processes read the next files while this thread embeds and stores.
    """
    waiting: dict[str, _Acquired] = {}

    def jobs() -> Iterator[Job]:
        for candidate in candidates:
            acquired = acquired_one(candidate)
            if acquired is not None:
                waiting[candidate.document_id] = acquired
                name = file_name(candidate.source)
                yield Job(acquired.copy, candidate.document_id, name, acquired.sha256, password, acquired.journal)

    def show_ocr(job: Job, ocr: OcrProgress) -> None:
        run.meter.show_ocr(job.document, done=ocr.done, pages=ocr.total, seconds_left=ocr.seconds_left)

    try:
        for job, outcome in parse_all(
            jobs(), workers=run.config.jobs, config=run.config, cancel=run.cancel, on_ocr=show_ocr
        ):
            acquired = waiting[job.document_id]
            try:
                parsed, used_password = unlock(run, acquired, job, outcome, ask_password)
                vectors = embed(run, acquired, parsed)
                store(run, acquired, parsed, vectors, used_password)
            except Cancelled:
                raise
            except QuireError as exc:
                run.fail(acquired.candidate.source, exc)
                if isinstance(exc, (StoreUnreachable, EmbedderUnavailable)):  # no other file would fare better
                    run.give_up(candidates, exc)
                    return
            waiting.pop(job.document_id).discard()  # a stored copy was moved already
            run.meter.finish(file_name(acquired.candidate.source), acquired.size)
        run.check_cancel()
    finally:
        for acquired in waiting.values():
            acquired.discard()


def acquire(run: _Run, candidate: Candidate, *, allow_private: bool) -> _Acquired | None:
    """Fetch and copy one candidate; return None if it is unchanged or failed, which is then in the report."""
    run.check_cancel()
    source, path = candidate.source, candidate.path
    try:
        given = ""
        if path is None:
            fetched = _fetch(run, source, allow_private)
            path, given = fetched.path, fetched.name
        old = run.documents.get(candidate.document_id)
        if old is None or old.id in run.incomplete or run.can_read_more(old) or sha256_of_file(path) != old.sha256:
            copy, sha256, size = run.pdfs.take(path)
            return _Acquired(candidate, copy, sha256, size, old, given)
        run.report.unchanged.append(old.name)
        run.settled.add(source)
    except OSError as exc:
        run.fail(source, IngestError(exc.strerror or str(exc), "check the file and its permissions"))
        path = candidate.path
    except QuireError as exc:
        run.fail(source, exc)
        path = candidate.path
    run.meter.finish(file_name(source), _size(path))
    return None


def _acquire_stored(run: _Run, candidate: Candidate) -> _Acquired | None:
    """Copy the stored PDF of a document without the text of OCR; return None if it failed, which is then reported."""
    run.check_cancel()
    document = run.documents[candidate.document_id]
    path = run.pdfs.path(document.stored_pdf)
    try:
        if path is None:
            raise IngestError("its stored PDF is not on this machine", "ingest it again")
        copy, _, _ = run.pdfs.take(path)
        if document.ocr_pages:
            remove_layer(copy, copy.with_suffix(LAYERED))
            copy.with_suffix(LAYERED).replace(copy)
    except QuireError as exc:
        run.fail(candidate.source, exc)
        run.meter.finish(document.name, document.size_bytes)
        return None
    return _Acquired(
        candidate,
        copy,
        document.sha256,
        document.size_bytes,
        document,
        document.extra.get("file_name", ""),
        journal=sha256_of_file(copy),
        decrypted=DECRYPTED in document.notices,
    )


def unlock(
    run: _Run, acquired: _Acquired, job: Job, outcome: Parsed | QuireError, ask_password: AskPassword | None
) -> tuple[Parsed, str | None]:
    """Return the parsed file and the password that opened it, asking until it is right; raise what parsing raised."""
    wrong = job.password is not None
    while isinstance(outcome, PasswordRequired) and ask_password is not None:
        answer = ask_password(acquired.candidate.source, wrong)
        if not answer:
            break
        job, wrong = replace(job, password=answer), True
        outcomes = [o for _, o in parse_all([job], workers=1, config=run.config, cancel=run.cancel)]
        run.check_cancel()
        outcome = outcomes[0]
    if isinstance(outcome, QuireError):
        raise outcome
    if acquired.decrypted:
        outcome = replace(outcome, pdf=replace(outcome.pdf, encrypted=True))
    return outcome, job.password


def embed(run: _Run, acquired: _Acquired, parsed: Parsed) -> Vectors:
    """Return the vectors of a parsed file, float32 [chunks, dimension].

    What a stopped run, the old version or a document of the same bytes has embedded is not embedded again.
    """
    source, document_id = acquired.candidate.source, acquired.candidate.document_id
    texts = embedding_texts(parsed.chunks, acquired.file_name or file_name(source), parsed.pdf.title)
    known = run.cache.load(document_id)
    for twin in run.documents.values():
        if (twin.id == document_id or twin.sha256 == acquired.sha256) and twin.id not in run.incomplete:
            for chunk, vector in run.store.scan(twin.id):
                known[text_key(embedding_texts([chunk], twin.file_name, twin.title)[0])] = vector
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # texts of like length need the least padding
    vectors = np.zeros((len(texts), run.embedder.identity().dimension), dtype=np.float32)
    for start in range(0, len(order), CHUNKS_PER_SAVE):
        run.check_cancel()
        run.meter.show("embedding", file_name(source), start / len(order), acquired.size)
        part = order[start : start + CHUNKS_PER_SAVE]
        batch = [texts[i] for i in part]
        new = {text_key(text) for text in batch} - known.keys()
        vectors[part] = embed_texts(run.embedder, batch, known)
        if new and start + CHUNKS_PER_SAVE < len(order):
            run.cache.save(document_id, {key: known[key] for key in new})
    run.check_cancel()
    return vectors


def store(run: _Run, acquired: _Acquired, parsed: Parsed, vectors: Vectors, password: str | None) -> None:
    """Store the document, its chunks and its PDF, and report it as added or replaced."""
    source, document_id = acquired.candidate.source, acquired.candidate.document_id
    run.meter.show("storing", file_name(source), 1.0, acquired.size)
    layer = ""
    if parsed.layered is not None:
        layer = sha256_of_file(parsed.layered)[:16]
        parsed.layered.replace(acquired.copy)
    elif parsed.pdf.encrypted:
        decrypted_copy(acquired.copy, password, acquired.copy.with_suffix(".open"))
        acquired.copy.with_suffix(".open").replace(acquired.copy)
    document = document_record(
        acquired.candidate,
        parsed,
        run.config,
        sha256=acquired.sha256,
        size=acquired.size,
        embedder=run.embedder.identity().name,
        extra={"file_name": acquired.file_name, "ocr": run.engine, "layer": layer},
    )
    others = [other for other in run.documents.values() if other.id != document_id]
    document = replace(document, name=unique_names([*others, document])[source])
    library = library_key(run.config)
    run.pdfs.keep(acquired.copy, document.stored_pdf, library=library, document_id=document_id)
    try:
        run.store.put(document, [replace(chunk, document=document.name) for chunk in parsed.chunks], vectors)
    except QuireError:
        old_key = acquired.old.stored_pdf if acquired.old else ""
        run.pdfs.release(library=library, document_id=document_id, keep_key=old_key)
        raise
    run.pdfs.release(library=library, document_id=document_id, keep_key=document.stored_pdf)
    rename_documents(run.store)
    run.documents[document_id] = document
    run.incomplete.discard(document_id)
    run.cache.forget([document_id])
    Journal(run.config.home, acquired.journal or acquired.sha256, run.engine).forget()
    run.settled.add(source)
    uncertain = tuple(page.number for page in parsed.pdf.pages if page.uncertain_order)
    stored = Stored(document.name, document.pages, document.chunks, document.notices, uncertain)
    (run.report.replaced if acquired.old else run.report.added).append(stored)


def _fetch(run: _Run, link: str, allow_private: bool) -> Fetched:
    run.meter.show("reading", link, 0.0)
    return fetch_link(
        link,
        run.pdfs.folder,
        allow_private=allow_private,
        max_megabytes=run.config.link_megabytes,
        seconds=run.config.link_seconds,
    )


def _upload_name(name: str) -> str:
    """Return the last part of the name of an uploaded file, without the sender's folders."""
    return name.replace("\\", "/").rsplit("/", 1)[-1].strip() or "upload.pdf"


def _size(path: Path | None) -> int:
    try:
        return path.stat().st_size if path is not None else 0
    except OSError:
        return 0

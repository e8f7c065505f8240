"""The order in which PDFs become a library: collect, compare, copy, parse, embed, store, report."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import numpy as np

from ingest.config import IngestConfig
from ingest.embed import Embedder, load_embedder, mostly_english
from ingest.embed.cache import Journal, text_key
from ingest.errors import (
    EmbedderUnavailable,
    IngestError,
    PasswordRequired,
    StoreUnreachable,
    UnknownDocument,
)
from ingest.files.links import fetch_link
from ingest.files.names import UPLOAD, display_names, file_name
from ingest.files.pdf_store import Copies
from ingest.files.sources import Candidate, Failed, collect
from ingest.parsing import Job, Parsed, parse_all
from ingest.pdf.read import decrypted_copy
from ingest.store import Document, Identity, Store, Vectors, miscounted, open_store
from ingest.text.chunks import Chunk, embedding_text
from quire import QuireError, sha256_of_file

_SLICE = 256  # chunks embedded between two savings: at worst these are embedded twice after a kill
_MINILM_CHARACTERS = 1200  # what its 256 tokens hold of English prose

Stage = Literal["reading", "embedding", "storing", "copying", "done"]
AskPassword = Callable[[str, bool], str | None]  # (document, a wrong one was given) -> password, None to give up


@dataclass(frozen=True)
class Progress:
    """Where an ingest stands; `fraction` is of the current document, `seconds_left` of the whole run (None: not known yet)."""

    stage: Stage
    document: str
    fraction: float
    documents_done: int
    documents_total: int
    seconds_left: float | None


@dataclass(frozen=True)
class Stored:
    """One document that went in."""

    document: str
    pages: int
    chunks: int
    notices: tuple[str, ...] = ()


@dataclass
class IngestReport:
    """What became of everything that was given: each file stands in exactly one of the four lists."""

    library: str
    added: list[Stored] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    replaced: list[Stored] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Cancelled(IngestError):
    """The person asked to stop; what was stored stays, and the next run goes on from there."""


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
    """Put files, folders and links into the library of `config` and report on each of them.

    `uploads` are (name as given, path of the bytes). `progress` is called in this thread. A password may stand ready
    or be asked for. `embedder` is one that is loaded already, None means the one of `config`. Raises UsageError, EmbedderUnavailable, IdentityMismatch or StoreUnreachable before anything is
    read; what goes wrong with one file is in the report. Raises Cancelled once `cancel` is set.
    """
    started = time.monotonic()
    candidates, failed, notices = collect(arguments)
    candidates += [Candidate(UPLOAD + _upload_name(name), path) for name, path in uploads]
    report = IngestReport(config.library, failed=failed, notices=notices)
    if candidates:
        with _Run(config, report, progress, cancel, embedder) as run:
            run.ingest(candidates, password=password, ask_password=ask_password, allow_private=allow_private)
    report.seconds = round(time.monotonic() - started, 3)
    return report


def make_identity(embedder: Embedder, config: IngestConfig) -> Identity:
    """Return what a library made with this embedder and these chunking settings is recorded as."""
    own = embedder.identity()
    return Identity(
        own.name,
        own.revision,
        own.dimension,
        own.normalised,
        own.query_prefix,
        own.passage_prefix,
        config.chunk_size,
        config.chunk_overlap,
    )


def library_key(config: IngestConfig) -> str:
    """Return the name under which the copies of a library's PDFs are noted."""
    return "/".join(
        (
            config.store,
            config.weaviate_url if config.store == "weaviate" else "",
            config.tenant,
            config.library,
        )
    )


def find_document(store: Store, name_or_id: str, *, whole: bool = False) -> Document:
    """Return the document of that display name, id, path or link, or, unless `whole`, of that unique part of a name.

    Raises UnknownDocument.
    """
    documents = store.documents()
    asked = normalize("NFC", name_or_id)  # names from a Mac hold an accent as a character of its own
    places = [name_or_id]
    with contextlib.suppress(OSError):  # the working folder is gone
        places.append(os.path.abspath(name_or_id))  # noqa: PTH100 - of a link to a file, not of what it leads to
    exact = [d for d in documents if asked == normalize("NFC", d.name) or d.id == name_or_id or d.source in places]
    close = [d for d in documents if asked.lower() in normalize("NFC", d.name).lower()]
    found = exact or (close if len(close) == 1 and not whole else [])
    if found:
        return found[0]
    if close and whole:
        raise UnknownDocument(
            f"the library holds no document of the name {name_or_id!r}",
            "give the whole name: " + ", ".join(d.name for d in close[:5]),
        )
    if close:
        raise UnknownDocument(
            f"{name_or_id!r} fits {len(close)} documents", "name one: " + ", ".join(d.name for d in close[:5])
        )
    raise UnknownDocument(f"the library holds no document {name_or_id!r}", "`quire docs list` shows them all")


def remove_document(config: IngestConfig, store: Store, document: Document) -> int:
    """Remove a document with its passages and, when no other uses it, its copy; return how many passages went."""
    removed = store.remove(document.id)
    Copies(config.home).release(library=library_key(config), document_id=document.id)
    _rename_all(store, [d.source for d in store.documents()])
    return removed


def reindex(
    config: IngestConfig,
    store: Store,
    *,
    embedder: Embedder,
    progress: Callable[[Progress], None] | None = None,
) -> int:
    """Embed every passage again from the stored text and swap the vectors in one step; return how many passages.

    A stopped run keeps what it has in the journal and goes on from there.
    """
    old = store.identity()
    if old is None:
        return 0
    own = make_identity(embedder, config)
    identity = replace(own, chunk_size=old.chunk_size, chunk_overlap=old.chunk_overlap)
    journal = Journal(config.home, _embedder_key(embedder))
    key = f"reindex {library_key(config)}"
    done, total, started = 0, store.count(), time.monotonic()

    def batches() -> Iterator[tuple[list[str], Vectors]]:
        nonlocal done
        known = journal.load(key)
        for document in store.documents():
            chunks = [chunk for chunk, _ in store.scan(document.id)]
            for start in range(0, len(chunks), _SLICE):
                part = chunks[start : start + _SLICE]
                texts = _texts(part, document.source, document.title)
                vectors = _embed(embedder, texts, known)
                journal.save(key, {text_key(t): v for t, v in zip(texts, vectors, strict=True)})
                done += len(part)
                if progress:
                    left = (time.monotonic() - started) / done * (total - done)
                    progress(Progress("embedding", document.name, done / max(1, total), 0, 1, left))
                yield [chunk.id for chunk in part], vectors

    try:
        store.replace_vectors(identity, batches())
        journal.forget([key])
    finally:
        journal.close()
    return done


class _Run:
    """One ingest into one library: what its steps share."""

    def __init__(
        self,
        config: IngestConfig,
        report: IngestReport,
        progress: Callable[[Progress], None] | None,
        cancel: threading.Event | None,
        embedder: Embedder | None,
    ) -> None:
        self.config, self.report = config, report
        self._given = embedder
        self._progress, self._cancel = progress, cancel
        self._started = time.monotonic()
        self._done = self._total = 0
        self._bytes_done = self._bytes_total = 0
        self._settled: set[str] = set()  # sources that are stored or unchanged
        self._lost: IngestError | None = None  # the server that went away

    def __enter__(self) -> _Run:
        with contextlib.ExitStack() as stack:
            self.embedder = self._given or load_embedder(self.config)
            self.store = open_store(self.config, create=True)
            stack.callback(self.store.close)
            self.store.set_identity(make_identity(self.embedder, self.config))
            self.journal = Journal(self.config.home, _embedder_key(self.embedder))
            stack.callback(self.journal.close)
            self.copies = Copies(self.config.home)
            self.copies.sweep()
            self.known = {document.id: document for document in self.store.documents()}
            # a killed server may have lost some of what it acknowledged: such a document is never "unchanged"
            self._broken = {document.id for document, _ in miscounted(self.store)}
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ingest(
        self,
        candidates: list[Candidate],
        *,
        password: str | None,
        ask_password: AskPassword | None,
        allow_private: bool,
    ) -> None:
        """Take every candidate through all steps, in the order given."""
        self._total = len(candidates)
        self._bytes_total = sum(_size(c.path) for c in candidates)
        waiting: dict[str, _Work] = {}

        def jobs() -> Iterator[Job]:
            for candidate in candidates:
                work = self._prepare(candidate, allow_private)
                if work is not None:
                    waiting[candidate.document_id] = work
                    yield self._job(work, password)

        try:
            for job, outcome in parse_all(jobs(), workers=self.config.jobs, config=self.config, cancel=self._cancel):
                work = waiting[job.document_id]
                if not self._finish(work, job, outcome, ask_password):
                    self._give_up(candidates)
                    return
                waiting.pop(job.document_id).copy.unlink(missing_ok=True)  # gone already where it was kept
                self._count(work.size, work.candidate.source)
            self._check_cancel()
        finally:
            for work in waiting.values():
                work.copy.unlink(missing_ok=True)

    def _finish(self, work: _Work, job: Job, outcome: Parsed | QuireError, ask_password: AskPassword | None) -> bool:
        """Embed and store one parsed file, or report why not; False where no other file would fare better."""
        try:
            self._store(work, self._unlocked(work, job, outcome, ask_password))
        except Cancelled:
            raise
        except QuireError as exc:
            self._fail(work.candidate.source, exc)
            self._lost = exc if isinstance(exc, (StoreUnreachable, EmbedderUnavailable)) else None
        return self._lost is None

    def _prepare(self, candidate: Candidate, allow_private: bool) -> _Work | None:
        """Fetch and copy one candidate; None where it is unchanged or failed, which is then in the report."""
        self._check_cancel()
        try:
            path = candidate.path or self._fetch(candidate.source, allow_private)
            old = self.known.get(candidate.document_id)
            if old is not None and old.id not in self._broken and sha256_of_file(path) == old.sha256:
                self.report.unchanged.append(old.name)
                self._settled.add(candidate.source)
                self._count(_size(path), candidate.source)
                return None
            copy, sha256, size = self.copies.take(path)
            return _Work(candidate, copy, sha256, size, old)
        except OSError as exc:
            self._fail(candidate.source, IngestError(exc.strerror or str(exc), "check the file and its permissions"))
        except QuireError as exc:
            self._fail(candidate.source, exc)
        self._count(_size(candidate.path), candidate.source)
        return None

    def _fetch(self, link: str, allow_private: bool) -> Path:
        self._say("reading", link, 0.0)
        fetched = fetch_link(
            link,
            self.copies.folder,
            allow_private=allow_private,
            max_megabytes=self.config.link_megabytes,
            seconds=self.config.link_seconds,
        )
        return fetched.path

    def _job(self, work: _Work, password: str | None) -> Job:
        return Job(
            path=work.copy,
            document_id=work.candidate.document_id,
            document=file_name(work.candidate.source),
            sha256=work.sha256,
            password=password,
        )

    def _unlocked(
        self, work: _Work, job: Job, outcome: Parsed | QuireError, ask_password: AskPassword | None
    ) -> Parsed:
        """Return what was parsed, asking for a password as often as it is wrong; raises what parsing raised."""
        wrong = job.password is not None
        while isinstance(outcome, PasswordRequired) and ask_password is not None:
            answer = ask_password(work.candidate.source, wrong)
            if not answer:
                break
            job, wrong = replace(job, password=answer), True
            outcomes = [o for _, o in parse_all([job], workers=1, config=self.config, cancel=self._cancel)]
            self._check_cancel()
            outcome = outcomes[0]
        if isinstance(outcome, QuireError):
            raise outcome
        work.password = job.password
        return outcome

    def _store(self, work: _Work, parsed: Parsed) -> None:
        source, document_id = work.candidate.source, work.candidate.document_id
        texts = _texts(parsed.chunks, source, parsed.pdf.title)
        vectors = self._vectors(work, parsed.chunks, texts)
        self._check_cancel()
        self._say("storing", file_name(source), 1.0, work.size)
        notices = self._notices(work, parsed)
        if parsed.pdf.encrypted:
            decrypted_copy(work.copy, work.password, work.copy.with_suffix(".open"))
            work.copy.with_suffix(".open").replace(work.copy)
        names = self._names(source)
        document = Document(
            id=document_id,
            source=source,
            name=names[source],
            sha256=work.sha256,
            title=parsed.pdf.title,
            pages=len(parsed.pdf.pages),
            chunks=len(parsed.chunks),
            size_bytes=work.size,
            added_at=datetime.now(UTC).isoformat(timespec="seconds"),
            parser=parsed.pdf.parser,
            scanned_pages=tuple(p.number for p in parsed.pdf.pages if p.kind == "scanned"),
            notices=tuple(notices),
            outline=parsed.pdf.outline,
        )
        self.copies.keep(work.copy, work.sha256, library=library_key(self.config), document_id=document_id)
        try:
            self.store.put(document, [replace(c, document=document.name) for c in parsed.chunks], vectors)
        except QuireError:
            keep = work.old.sha256 if work.old else ""
            self.copies.release(library=library_key(self.config), document_id=document_id, keep_sha256=keep)
            raise
        self.copies.release(library=library_key(self.config), document_id=document_id, keep_sha256=work.sha256)
        _rename_all(self.store, [d.source for d in self.known.values()] + [source])
        self.known[document_id] = document
        self._broken.discard(document_id)
        self.journal.forget([document_id])
        self._settled.add(source)
        stored = Stored(document.name, document.pages, document.chunks, document.notices)
        (self.report.replaced if work.old else self.report.added).append(stored)

    def _vectors(self, work: _Work, chunks: Sequence[Chunk], texts: list[str]) -> Vectors:
        """Embed what was never embedded: not in a stopped run, not in the old version, not in a twin of the same bytes."""
        document_id = work.candidate.document_id
        known = self.journal.load(document_id)
        twins = [d for d in self.known.values() if d.id == document_id or d.sha256 == work.sha256]
        for twin in twins:
            if twin.id in self._broken:
                continue
            for chunk, vector in self.store.scan(twin.id):
                known[text_key(_texts([chunk], twin.source, twin.title)[0])] = vector
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # alike lengths pad least
        vectors = np.zeros((len(texts), self.embedder.identity().dimension), dtype=np.float32)
        for start in range(0, len(order), _SLICE):
            self._check_cancel()
            self._say("embedding", file_name(work.candidate.source), start / len(order), work.size)
            part = order[start : start + _SLICE]
            some = [texts[i] for i in part]
            new = [t for t in some if text_key(t) not in known]
            vectors[part] = _embed(self.embedder, some, known)
            if new and start + _SLICE < len(order):
                self.journal.save(document_id, {text_key(t): known[text_key(t)] for t in new})
        return vectors

    def _notices(self, work: _Work, parsed: Parsed) -> list[str]:
        notices = list(parsed.pdf.notices)
        scanned = [p.label for p in parsed.pdf.pages if p.kind == "scanned"]
        if scanned:
            some = ", ".join(scanned[:8]) + (" and more" if len(scanned) > 8 else "")
            what = "1 page is a picture" if len(scanned) == 1 else f"{len(scanned)} pages are pictures"
            notices.append(f"{what} without text and cannot be searched: {some}")
        if parsed.pdf.encrypted:
            notices.append("the library keeps a decrypted copy, readable by you only")
        if self.embedder.identity().name.startswith("all-MiniLM"):
            if self.config.chunk_size > _MINILM_CHARACTERS:
                notices.append(
                    f"passages of up to {self.config.chunk_size} characters: MiniLM reads about the first "
                    f"{_MINILM_CHARACTERS} of each; what follows is found by its words only"
                )
            text = " ".join(c.text for c in parsed.chunks[:200])
            if not mostly_english(text):
                notices.append("the text is mostly not English, and the embedding model MiniLM knows English only")
        return notices

    def _names(self, source: str) -> dict[str, str]:
        return display_names([d.source for d in self.known.values()] + [source])

    def _give_up(self, candidates: list[Candidate]) -> None:
        """Name every document that was not tried because the server went away."""
        assert self._lost is not None  # noqa: S101
        settled = {f.document for f in self.report.failed} | self._settled
        for candidate in candidates:
            if candidate.source not in settled:
                reason = f"not tried: {self._lost.message}"
                self.report.failed.append(Failed(candidate.source, reason, self._lost.hint))

    def _fail(self, source: str, exc: QuireError) -> None:
        hint = exc.hint
        if source in {d.source for d in self.known.values()}:
            hint = f"{hint}; the version stored before stays" if hint else "the version stored before stays"
        self.report.failed.append(Failed(source, exc.message, hint))

    def _count(self, size: int, source: str) -> None:
        self._done += 1
        self._bytes_done += size
        self._say("done", file_name(source), 1.0)

    def _say(self, stage: Stage, document: str, fraction: float, size: int = 0) -> None:
        if self._progress is None:
            return
        done = self._bytes_done + size * fraction
        elapsed = time.monotonic() - self._started
        # bytes stand in for work: pages and chunks of files not opened yet are unknown
        left = elapsed / done * (self._bytes_total - done) if done > 0 and elapsed > 2 else None
        self._progress(Progress(stage, document, fraction, self._done, self._total, left))

    def _check_cancel(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise Cancelled("stopped", "run the same command again to go on from here")


@dataclass
class _Work:
    """One candidate on its way: its temporary copy, the hash of its bytes, and the version it replaces."""

    candidate: Candidate
    copy: Path
    sha256: str
    size: int
    old: Document | None
    password: str | None = None


def _texts(chunks: Sequence[Chunk], source: str, title: str) -> list[str]:
    name = file_name(source)
    return [embedding_text(chunk, name=name, title=title) for chunk in chunks]


def _embed(embedder: Embedder, texts: Sequence[str], known: dict[bytes, Vectors]) -> Vectors:
    """Return one vector a text, float32 [n, dimension], embedding only those not in `known` and adding them to it."""
    keys = [text_key(text) for text in texts]
    new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    if new:
        for key, vector in zip(new, embedder.embed_passages(list(new.values())), strict=True):
            known[key] = vector
    return np.stack([known[key] for key in keys]) if keys else np.zeros((0, embedder.identity().dimension), np.float32)


def _embedder_key(embedder: Embedder) -> str:
    own = embedder.identity()
    return f"{own.name} {own.revision} {own.dimension} {own.passage_prefix}"


def _rename_all(store: Store, sources: Sequence[str]) -> None:
    """Give every document the shortest name that is unique now that others came or went."""
    names = display_names(sources)
    for document in store.documents():
        if document.source in names and names[document.source] != document.name:
            store.rename(document.id, names[document.source])


def _upload_name(name: str) -> str:
    """Return the last part of an uploaded file's name: folders in it are the sender's business."""
    return name.replace("\\", "/").rsplit("/", 1)[-1].strip() or "upload.pdf"


def _size(path: Path | None) -> int:
    try:
        return path.stat().st_size if path is not None else 0
    except OSError:
        return 0

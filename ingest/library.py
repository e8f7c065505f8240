"""What is done with a library that exists: open, list, find, remove, re-embed, copy, check."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from unicodedata import normalize

import numpy as np

from ingest.config import IngestConfig
from ingest.embed.cache import CHUNKS_PER_SAVE, EmbeddingCache, embed_texts, embedding_texts, text_key
from ingest.embed.identity import Embedder, Vectors
from ingest.embed.load import load_embedder
from ingest.errors import IdentityMismatch, StoreError, UnknownDocument
from ingest.files.names import display_names
from ingest.files.pdf_store import PdfStore
from ingest.report import Progress
from ingest.store.contract import Document, Identity, Store
from ingest.store.opening import open_store


@dataclass(frozen=True)
class Library:
    """A store and the embedder whose vectors it holds."""

    name: str
    store: Store
    embedder: Embedder

    def document_ids(self, names: Sequence[str]) -> list[str] | None:
        """Return the ids of documents given by display name or id, None for no names; raises UnknownDocument."""
        return [find_document(self.store, name).id for name in names] or None


@contextlib.contextmanager
def open_library(config: IngestConfig) -> Iterator[Library]:
    """Open an existing library for searching and close its store afterwards.

    Raises StoreError, EmbedderUnavailable, or IdentityMismatch if another embedder made the library.
    """
    store = open_store(config, create=False)
    try:
        embedder = load_embedder(config)
        check_embedder(store, embedder, config.library)
        yield Library(config.library, store, embedder)
    finally:
        store.close()


def check_embedder(store: Store, embedder: Embedder, library: str) -> None:
    """Raise IdentityMismatch if the vectors of a library come from another embedder."""
    stored = store.identity()
    if stored is None:
        return
    given = embedder.identity()
    made_by = (stored.embedder, stored.revision, stored.dimension, stored.query_prefix, stored.passage_prefix)
    if made_by != (given.name, given.revision, given.dimension, given.query_prefix, given.passage_prefix):
        raise IdentityMismatch(
            f"library {library!r} was embedded with {stored.embedder} ({stored.revision[:12]}, {stored.dimension} "
            f"dimensions), but the current embedder is {given.name} ({given.revision[:12]}, {given.dimension})",
            f"re-embed its stored text: `quire docs reindex --library {library}`, or set QUIRE_EMBEDDER back",
        )


def make_identity(embedder: Embedder, config: IngestConfig) -> Identity:
    """Return the identity of a library made with this embedder and these chunking settings."""
    made_by = embedder.identity()
    return Identity(
        made_by.name,
        made_by.revision,
        made_by.dimension,
        made_by.normalised,
        made_by.query_prefix,
        made_by.passage_prefix,
        config.chunk_size,
        config.chunk_overlap,
    )


def library_key(config: IngestConfig) -> str:
    """Return the key under which PdfStore records the references of a library."""
    url = config.weaviate_url if config.store == "weaviate" else ""
    return "/".join((config.store, url, config.tenant, config.library))


def find_document(store: Store, name_or_id: str, *, whole: bool = False) -> Document:
    """Return the document with this display name, id, path or link.

    A part of the name will do if it fits one document only, unless `whole` is set. Raises UnknownDocument.
    """
    documents = store.documents()
    wanted = normalize("NFC", name_or_id)  # macOS writes an accent as a separate character
    places = [name_or_id]
    with contextlib.suppress(OSError):  # the working folder was deleted
        places.append(os.path.abspath(name_or_id))  # noqa: PTH100 - the path of a symbolic link, not of its target
    exact = [d for d in documents if wanted == normalize("NFC", d.name) or d.id == name_or_id or d.source in places]
    close = [d for d in documents if wanted.lower() in normalize("NFC", d.name).lower()]
    found = exact or (close if len(close) == 1 and not whole else [])
    if found:
        return found[0]
    names = ", ".join(d.name for d in close[:5])
    if close and whole:
        raise UnknownDocument(
            f"the library has no document with the name {name_or_id!r}", f"give the whole name: {names}"
        )
    if close:
        raise UnknownDocument(f"{name_or_id!r} matches {len(close)} documents", f"choose one: {names}")
    raise UnknownDocument(f"the library has no document {name_or_id!r}", "`quire docs list` shows all documents")


def incomplete_documents(store: Store) -> list[tuple[Document, int]]:
    """Return the documents whose number of stored chunks differs from their record, each with the number stored.

    Ingesting such a document again writes all of it. A document that is replaced during the check is not returned.
    """
    documents = store.documents()
    if store.count() == sum(document.chunks for document in documents):  # one count is enough if all is well
        return []
    wrong = [(one, held) for one in documents if (held := store.count(one.id)) != one.chunks]
    current = {document.id: document for document in store.documents()} if wrong else {}
    return [(one, held) for one, held in wrong if current.get(one.id) == one and store.count(one.id) != one.chunks]


def remove_document(config: IngestConfig, store: Store, document: Document) -> int:
    """Remove a document, its chunks and, if no other document uses it, its stored PDF; return the number of chunks."""
    removed = store.remove(document.id)
    PdfStore(config.home).release(library=library_key(config), document_id=document.id)
    rename_documents(store)
    return removed


def unique_names(documents: Sequence[Document]) -> dict[str, str]:
    """Return for each source the shortest display name that no other of the documents has."""
    return display_names({document.source: document.extra.get("file_name", "") for document in documents})


def rename_documents(store: Store) -> None:
    """Give every document the shortest display name that no other document of the library has."""
    documents = store.documents()
    names = unique_names(documents)
    for document in documents:
        if names[document.source] != document.name:
            store.rename(document.id, names[document.source])


def reindex(
    config: IngestConfig,
    store: Store,
    *,
    embedder: Embedder,
    progress: Callable[[Progress], None] | None = None,
) -> int:
    """Embed all stored text again, replace the vectors in one step, and return the number of chunks.

    A stopped run leaves its vectors in the cache; the next run continues from there.
    """
    old = store.identity()
    if old is None:
        return 0
    identity = replace(
        make_identity(embedder, config), chunk_size=old.chunk_size, chunk_overlap=old.chunk_overlap
    )  # the chunks stay
    cache = EmbeddingCache(config.home, embedder.identity())
    key = f"reindex {library_key(config)}"
    done, total, started = 0, store.count(), time.monotonic()

    def batches() -> Iterator[tuple[list[str], Vectors]]:
        nonlocal done
        known = cache.load(key)
        for document in store.documents():
            chunks = [chunk for chunk, _ in store.scan(document.id)]
            for start in range(0, len(chunks), CHUNKS_PER_SAVE):
                part = chunks[start : start + CHUNKS_PER_SAVE]
                texts = embedding_texts(part, document.file_name, document.title)
                vectors = embed_texts(embedder, texts, known)
                cache.save(key, {text_key(t): v for t, v in zip(texts, vectors, strict=True)})
                done += len(part)
                if progress:
                    left = (time.monotonic() - started) / done * (total - done)
                    progress(Progress("embedding", document.name, done / max(1, total), 0, 1, left))
                yield [chunk.id for chunk in part], vectors

    try:
        store.replace_vectors(identity, batches())
        cache.forget([key])
    finally:
        cache.close()
    return done


def copy_library(source: Store, target: Store, *, progress: Callable[[Progress], None] | None = None) -> int:
    """Copy all documents with chunks and vectors; return the number of chunks that the target is verified to hold.

    Documents that the target already has in the same version are skipped, so a stopped copy can be continued.
    Raises IdentityMismatch if the target was made with another embedder or chunking, and StoreError if a count differs
    afterwards.
    """
    identity = source.identity()
    if identity is None:
        return 0
    target.set_identity(identity)
    present = {document.id: document for document in target.documents()}
    documents, copied, started = source.documents(), 0, time.monotonic()
    for number, document in enumerate(documents, 1):
        if present.get(document.id) != document or target.count(document.id) != document.chunks:
            pairs = list(source.scan(document.id))
            vectors = np.array([vector for _, vector in pairs], dtype=np.float32).reshape(-1, identity.dimension)
            target.put(document, [chunk for chunk, _ in pairs], vectors)
            held = target.count(document.id)
            if held != len(pairs):
                raise StoreError(
                    f"{document.name}: {len(pairs)} passages were copied, the target has {held}",
                    "run the same copy again: it continues here",
                )
        copied += document.chunks
        if progress:
            left = (time.monotonic() - started) / number * (len(documents) - number)
            progress(Progress("copying", document.name, 1.0, number - 1, len(documents), left))
    return copied

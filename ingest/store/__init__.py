"""The library: documents' records and passages with their vectors, searchable by text and by vector; any store keeps this contract."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ingest.config import IngestConfig
from ingest.errors import StoreError
from ingest.text.chunks import Chunk
from quire import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Identity:
    """What a library was made with; another embedder or chunking is refused on opening."""

    embedder: str  # "all-MiniLM-L6-v2"
    revision: str  # hash or tag of the weights and of the way they are run
    dimension: int
    normalised: bool
    query_prefix: str
    passage_prefix: str
    chunk_size: int
    chunk_overlap: int


@dataclass(frozen=True)
class Document:
    """One document's record."""

    id: str  # stable id of the source
    source: str  # absolute path, link, or upload:NAME
    name: str  # file name with as many parent folders as make it unique in the library
    sha256: str  # of the bytes as given
    title: str
    pages: int
    chunks: int
    size_bytes: int
    added_at: str  # ISO 8601, UTC
    parser: str
    scanned_pages: tuple[int, ...] = ()
    notices: tuple[str, ...] = ()
    outline: tuple[tuple[int, str, int], ...] = ()
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hit:
    """One passage found by one leg of a search; `score` is that leg's own (higher is better; cosine for vectors)."""

    chunk: Chunk
    score: float


@dataclass(frozen=True)
class LibrarySummary:
    """One library as a list shows it; `problem` says why it could not be read, empty where it could."""

    name: str
    documents: int
    passages: int
    store: str  # one of ingest.config.STORES
    bytes: int  # on disk, indexes included; 0 where a server does not tell
    problem: str = ""
    note: str = ""  # what the numbers leave out


class Store(Protocol):
    """What ingest and retrieval need of a library. Methods are safe to call from several threads.

    All raise StoreError (or StoreUnreachable) with a hint; none returns half a document.
    """

    def identity(self) -> Identity | None:
        """Return what the library was made with, None while it is empty and new."""
        ...

    def set_identity(self, identity: Identity) -> None:
        """Record what the library is made with; raise IdentityMismatch where another is recorded."""
        ...

    def put(self, document: Document, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        """Store a document whole, in one step replacing what was stored under its id; vectors are float32 [n, dimension]."""
        ...

    def remove(self, document_id: str) -> int:
        """Remove a document with all passages and return how many passages went."""
        ...

    def rename(self, document_id: str, name: str) -> None:
        """Change the display name of a document on its record and on all its passages."""
        ...

    def documents(self) -> list[Document]:
        """Return every document's record, ordered by name."""
        ...

    def search_text(self, query: str, *, limit: int, documents: Sequence[str] | None = None) -> list[Hit]:
        """Return passages by BM25 over any words of the query; `documents` are document ids, None means all."""
        ...

    def search_vector(self, vector: Vectors, *, limit: int, documents: Sequence[str] | None = None) -> list[Hit]:
        """Return passages by cosine to a float32 [dimension] vector, exact or nearly so."""
        ...

    def page_chunks(self, pages: Sequence[tuple[str, int]]) -> dict[tuple[str, int], list[Chunk]]:
        """Return all passages of the given (document id, page) pairs, in order of their place."""
        ...

    def count(self, document_id: str | None = None) -> int:
        """Return the number of passages, of one document or of all."""
        ...

    def scan(self, document_id: str | None = None) -> Iterator[tuple[Chunk, Vectors]]:
        """Yield every passage with its vector, document by document in order of place."""
        ...

    def replace_vectors(self, identity: Identity, batches: Iterator[tuple[list[str], Vectors]]) -> None:
        """Re-embed: swap all vectors and the identity in one step; batches are (chunk ids, float32 [n, dimension])."""
        ...

    def close(self) -> None:
        """Release files and connections; calling it twice does nothing."""
        ...


def open_store(config: IngestConfig, *, library: str | None = None, create: bool) -> Store:
    """Open the library that the settings name (or `library`), making it where it is absent and `create` is set.

    Raises StoreError where it is absent and not to be made, StoreUnreachable where a server does not answer, and
    SchemaTooNew where a newer quire wrote it.
    """
    name = config.library if library is None else library
    if config.store == "sqlite":
        _refuse_tenant(config)
        from ingest.store.sqlite import open_library

        return open_library(config.home, name, create=create)
    from ingest.store.weaviate import open_collection

    return open_collection(config, name, create=create)


def _refuse_tenant(config: IngestConfig) -> None:
    if config.tenant:  # ignored, it would mix the documents of people who asked to be kept apart
        raise UsageError(
            f"tenant {config.tenant!r} is set, and the embedded store has no tenants",
            "use --store weaviate, or one --library for each tenant",
        )


def libraries(config: IngestConfig) -> list[LibrarySummary]:
    """Return the libraries of the store that is set, by name."""
    if config.store == "sqlite":
        from ingest.store.sqlite import list_libraries

        return list_libraries(config.home)
    from ingest.store.weaviate import list_collections

    return list_collections(config)


def remove_library(config: IngestConfig, name: str) -> None:
    """Remove a library of the store that is set, whole and for good; raises StoreError where there is none."""
    if config.store == "sqlite":
        _refuse_tenant(config)
        from ingest.store.sqlite import remove_library_files

        return remove_library_files(config.home, name)
    from ingest.store.weaviate import remove_collection

    return remove_collection(config, name)


def miscounted(store: Store) -> list[tuple[Document, int]]:
    """Return the documents of which the store holds another number of passages than their records say, and that number.

    One count of the whole library where it is right; each document is counted only where it is not. Ingesting such a
    document again writes it anew. A document that others replace meanwhile is not among them.
    """
    documents = store.documents()
    if store.count() == sum(document.chunks for document in documents):
        return []
    wrong = [(one, held) for one in documents if (held := store.count(one.id)) != one.chunks]
    still = {document.id: document for document in store.documents()} if wrong else {}
    return [(one, held) for one, held in wrong if still.get(one.id) == one and store.count(one.id) != one.chunks]


def copy_library(source: Store, target: Store, *, progress: Callable[[str, int, int], None] | None = None) -> int:
    """Copy all documents with passages, page data and vectors, and return how many passages the target verifiably holds.

    What the target holds already in the same version is not copied again, so a stopped copy goes on where it stopped.
    `progress` is told (document, number, of how many). Raises IdentityMismatch where the target was made otherwise, and
    StoreError where a count differs afterwards.
    """
    identity = source.identity()
    if identity is None:
        return 0
    target.set_identity(identity)
    there = {document.id: document for document in target.documents()}
    documents, passages = source.documents(), 0
    for number, document in enumerate(documents, 1):
        if there.get(document.id) != document or target.count(document.id) != document.chunks:
            pairs = list(source.scan(document.id))
            vectors = np.array([vector for _, vector in pairs], dtype=np.float32).reshape(-1, identity.dimension)
            target.put(document, [chunk for chunk, _ in pairs], vectors)
            held = target.count(document.id)
            if held != len(pairs):
                raise StoreError(
                    f"{document.name}: {len(pairs)} passages were copied, the target holds {held}",
                    "run the same copy again: it goes on here",
                )
        passages += document.chunks
        if progress:
            progress(document.name, number, len(documents))
    return passages

"""The library: documents' records and passages with their vectors, searchable by text and by vector; any store keeps this contract."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ingest.chunks import Chunk

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

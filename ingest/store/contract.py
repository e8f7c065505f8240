"""The contract of a store: records of documents, and chunks that are found by text and by vector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ingest.embed.identity import Vectors
from ingest.files.names import file_name
from ingest.text.chunks import Chunk


@dataclass(frozen=True)
class Identity:
    """The embedder and chunking that a library was made with; others are refused on opening."""

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
    """The record of one document."""

    id: str  # stable id of the source
    source: str  # absolute path, link, or upload:NAME
    name: str  # display name: the file name with as many parent folders as make it unique
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
    # "file_name": as the server of a link gave it; "ocr": the engine that was there, "ocr_pages": "3:0.98 4:0.71", pages
    # that it read and its confidence, "layer": digest of the stored copy with their text
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        """The bare file name: as the server gave it, or the last part of the source."""
        return self.extra.get("file_name") or file_name(self.source)

    @property
    def ocr_pages(self) -> dict[int, float]:
        """The pages (from 1) that OCR read, each with the confidence of the engine, 0 to 1."""
        pairs = (pair.split(":") for pair in self.extra.get("ocr_pages", "").split())
        return {int(page): float(confidence) for page, confidence in pairs}

    @property
    def stored_pdf(self) -> str:
        """The key of the stored PDF: a copy with the text that OCR read is not the file as given."""
        layer = self.extra.get("layer", "")
        return f"{self.sha256}-{layer}" if layer else self.sha256


@dataclass(frozen=True)
class Hit:
    """One chunk found by a text search or a vector search; a higher `score` is better (BM25, or the cosine)."""

    chunk: Chunk
    score: float


@dataclass(frozen=True)
class LibrarySummary:
    """One library in a list; `problem` says why it could not be read, empty if it could."""

    name: str
    documents: int
    passages: int
    store: str  # one of ingest.config.STORES
    bytes: int  # on disk, including indexes; 0 if the server does not report it
    problem: str = ""
    note: str = ""  # what the numbers do not include


class Store(Protocol):
    """What ingest and retrieval need from a library. Methods may be called from several threads.

    All raise StoreError (or StoreUnreachable) with a hint; none returns part of a document.
    """

    def identity(self) -> Identity | None:
        """Return what the library was made with, None if it is new."""
        ...

    def set_identity(self, identity: Identity) -> None:
        """Record what the library is made with; raise IdentityMismatch if another identity is recorded."""
        ...

    def put(self, document: Document, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        """Store a document and replace what was stored under its id in one step; vectors are float32 [n, dimension]."""
        ...

    def remove(self, document_id: str) -> int:
        """Remove a document with all its chunks and return the number of chunks."""
        ...

    def rename(self, document_id: str, name: str) -> None:
        """Change the display name of a document in its record and all its chunks."""
        ...

    def documents(self) -> list[Document]:
        """Return the records of all documents, ordered by name."""
        ...

    def search_text(self, query: str, *, limit: int, documents: Sequence[str] | None = None) -> list[Hit]:
        """Return chunks by BM25 over any words of the query; `documents` are document ids, None means all."""
        ...

    def search_vector(self, vector: Vectors, *, limit: int, documents: Sequence[str] | None = None) -> list[Hit]:
        """Return chunks by cosine to a float32 [dimension] vector, exactly or approximately."""
        ...

    def page_chunks(self, pages: Sequence[tuple[str, int]]) -> dict[tuple[str, int], list[Chunk]]:
        """Return all chunks of the given (document id, page) pairs, in page order."""
        ...

    def count(self, document_id: str | None = None) -> int:
        """Return the number of chunks, of one document or of all."""
        ...

    def scan(self, document_id: str | None = None) -> Iterator[tuple[Chunk, Vectors]]:
        """Yield every chunk with its vector, document by document in page order."""
        ...

    def replace_vectors(self, identity: Identity, batches: Iterator[tuple[list[str], Vectors]]) -> None:
        """Replace all vectors and the identity in one step; batches are (chunk ids, float32 [n, dimension])."""
        ...

    def close(self) -> None:
        """Close files and connections; a second call does nothing."""
        ...

"""What every store does alike with identities, records and vectors before and after keeping them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ingest.errors import IdentityMismatch, StoreError
from ingest.store import Document, Identity, Vectors


def document_from(values: dict[str, Any]) -> Document:
    """Return the record whose fields were kept as JSON."""
    return Document(
        **values
        | {
            "scanned_pages": tuple(values["scanned_pages"]),
            "notices": tuple(values["notices"]),
            "outline": tuple((level, title, page) for level, title, page in values["outline"]),
        }
    )


def unit_vectors(vectors: Vectors, count: int, dimension: int) -> Vectors:
    """Return the vectors at unit length, float32 [count, dimension]; raises StoreError for another shape, NaN or infinity.

    Every store searches by cosine, where length says nothing; at unit length half precision loses least.
    """
    array = np.asarray(vectors, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != dimension:
        wide = array.shape[-1] if array.ndim else 0
        raise StoreError(
            f"the library's vectors have {dimension} numbers, these have {wide}",
            "use the embedder the library was made with, or `quire docs reindex` to change it",
        )
    if len(array) != count:
        raise StoreError(f"{count} passages came with {len(array)} vectors", "this is a fault of the caller: report it")
    if not np.isfinite(array).all():
        raise StoreError("a vector holds NaN or infinity", "the embedder is at fault: try another")
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    unit: Vectors = np.divide(array, lengths, out=np.zeros_like(array), where=lengths > 0)
    return unit


def identity_mismatch(library: str, stored: Identity, given: Identity) -> IdentityMismatch:
    """Return the error that names both identities and the way out."""
    chunking = (stored.chunk_size, stored.chunk_overlap) != (given.chunk_size, given.chunk_overlap)
    if _embedding(stored) != _embedding(given):
        message = f"library {library!r} was made with {_embedder(stored)}, not with {_embedder(given)}"
        hint = "`quire docs reindex` embeds its stored text again; or choose the first embedder, or another --library"
    else:
        message = (
            f"library {library!r} was made with passages of {stored.chunk_size} characters sharing "
            f"{stored.chunk_overlap}, not {given.chunk_size} sharing {given.chunk_overlap}"
        )
        hint = f"set chunk_size = {stored.chunk_size} and chunk_overlap = {stored.chunk_overlap}, or name another --library"
    if chunking and _embedding(stored) != _embedding(given):
        hint += "; the chunking differs too"
    return IdentityMismatch(message, hint)


def _embedding(identity: Identity) -> tuple[object, ...]:
    return (
        identity.embedder,
        identity.revision,
        identity.dimension,
        identity.normalised,
        identity.query_prefix,
        identity.passage_prefix,
    )


def _embedder(identity: Identity) -> str:
    return f"{identity.embedder} ({identity.revision[:16]}, {identity.dimension} numbers)"

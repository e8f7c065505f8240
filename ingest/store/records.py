"""Records, vectors and identities in the form that every store keeps."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from ingest.embed.identity import Vectors, to_unit_length
from ingest.errors import IdentityMismatch, StoreError
from ingest.store.contract import Document, Identity
from ingest.text.chunks import Chunk


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


def chunk_record(chunk: Chunk) -> dict[str, Any]:
    """Return the fields of a chunk as JSON shows them: `running_lines` has kept its first name, `margins`."""
    return {"margins" if name == "running_lines" else name: value for name, value in asdict(chunk).items()}


def unit_vectors(vectors: Vectors, count: int, dimension: int) -> Vectors:
    """Return the vectors at unit length, float32 [count, dimension]; raise StoreError for another shape, NaN or infinity.

    Every store compares by cosine, which ignores length; at unit length half precision loses least.
    """
    array = np.asarray(vectors, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != dimension:
        given = array.shape[-1] if array.ndim else 0
        raise StoreError(
            f"the library's vectors have {dimension} dimensions, these have {given}",
            "use the embedder the library was made with, or `quire docs reindex` to change it",
        )
    if len(array) != count:
        raise StoreError(f"internal error: {count} chunks but {len(array)} vectors", "please report it")
    if not np.isfinite(array).all():
        raise StoreError("the embedder returned a vector with NaN or infinity", "try another embedder")
    return to_unit_length(array)


def identity_mismatch(library: str, stored: Identity, given: Identity) -> IdentityMismatch:
    """Return the error that names both identities and how to go on."""
    chunking = (stored.chunk_size, stored.chunk_overlap) != (given.chunk_size, given.chunk_overlap)
    if _embedding(stored) != _embedding(given):
        message = f"library {library!r} was created with {_embedder(stored)}, not with {_embedder(given)}"
        hint = "`quire docs reindex` embeds its stored text again; or use the first embedder, or another --library"
    else:
        message = (
            f"library {library!r} was created with chunk_size {stored.chunk_size} and chunk_overlap "
            f"{stored.chunk_overlap}, not {given.chunk_size} and {given.chunk_overlap}"
        )
        hint = (
            f"set chunk_size = {stored.chunk_size} and chunk_overlap = {stored.chunk_overlap}, or use another --library"
        )
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
    return f"{identity.embedder} ({identity.revision[:16]}, {identity.dimension} dimensions)"

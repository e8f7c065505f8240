"""Documents, passages and predictable vectors for the tests of stores."""

from __future__ import annotations

import uuid

import numpy as np
from numpy.typing import NDArray

from ingest.store.contract import Document, Identity
from ingest.text.chunks import Chunk

WORDS = ("apple", "river", "engine", "lantern", "copper", "meadow", "violin", "harbour")

IDENTITY = Identity(
    embedder="word-counter",
    revision="1",
    dimension=len(WORDS),
    normalised=False,
    query_prefix="",
    passage_prefix="",
    chunk_size=500,
    chunk_overlap=75,
)


def embed(text: str) -> NDArray[np.float32]:
    """Count how often each of WORDS stands in the text: a vector that a reader can predict."""
    return np.array([text.lower().split().count(word) for word in WORDS], dtype=np.float32)


def make_document(source: str, *texts: str, version: str = "v1", title: str = "", per_page: int = 2):
    """Return (document, chunks, vectors) of a source whose passages hold these texts, `per_page` on each page."""
    document_id = str(uuid.uuid5(uuid.NAMESPACE_URL, source))
    chunks = [
        Chunk(
            id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{source} {version} {i}")),
            document_id=document_id,
            document=source.rsplit("/", 1)[-1],
            page=i // per_page + 1,
            page_label=f"p-{i // per_page + 1}",
            start=i % per_page * 100,
            end=i % per_page * 100 + len(text),
            text=text,
            heading="Results | Plan",
            running_lines=((0, 5),) if text.startswith("plain") else (),  # "plain" plays the running header
            parser="test 1",
        )
        for i, text in enumerate(texts)
    ]
    document = Document(
        id=document_id,
        source=source,
        name=source.rsplit("/", 1)[-1],
        sha256=uuid.uuid5(uuid.NAMESPACE_URL, version).hex * 2,
        title=title,
        pages=(len(texts) + per_page - 1) // per_page,
        chunks=len(texts),
        size_bytes=1234,
        added_at="2026-01-02T03:04:05+00:00",
        parser="test 1",
        scanned_pages=(7, 9),
        notices=("page 7 is a picture",),
        outline=((0, "Results", 1), (1, "Plan – “B”", 2)),
        extra={"author": "Ève"},
    )
    vectors = np.array([embed(text) for text in texts], dtype=np.float32).reshape(len(texts), len(WORDS))
    return document, chunks, vectors


def make_varied(source: str, *texts: str, version: str = "v1"):
    """Return what make_document returns, with vectors at random: thousands of equal ones make an HNSW index crawl."""
    document, chunks, vectors = make_document(source, *texts, version=version)
    rng = np.random.default_rng(len(texts))
    return document, chunks, rng.normal(size=vectors.shape).astype(np.float32)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the vectors at length one."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)

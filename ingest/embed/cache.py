"""The embedding cache: vectors of documents that are not stored yet, for the next run."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ingest.embed.identity import Embedder, EmbedderIdentity, Vectors
from ingest.errors import IngestError
from ingest.text.chunks import Chunk, embedding_text

CHUNKS_PER_SAVE = 256  # chunks embedded between two writes to the cache: a killed run embeds at most these again


def text_key(text: str) -> bytes:
    """Return the key of an embedded text: the first 16 bytes of its sha256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def embedding_texts(chunks: Sequence[Chunk], source: str, title: str) -> list[str]:
    """Return what is embedded for each chunk of the document from `source`."""
    return [embedding_text(chunk, source=source, title=title) for chunk in chunks]


def embed_texts(embedder: Embedder, texts: Sequence[str], known: dict[bytes, Vectors]) -> Vectors:
    """Return one vector a text, float32 [n, dimension]; embed those not in `known`, by text key, and add them to it."""
    keys = [text_key(text) for text in texts]
    new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    if new:
        for key, vector in zip(new, embedder.embed_passages(list(new.values())), strict=True):
            known[key] = vector
    return np.stack([known[key] for key in keys]) if keys else np.zeros((0, embedder.identity().dimension), np.float32)


class EmbeddingCache:
    """One SQLite file per embedder under `home/cache`; rows are deleted as soon as their document is stored."""

    def __init__(self, home: Path, embedder: EmbedderIdentity) -> None:
        folder = home / "cache"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = f"{embedder.name} {embedder.revision} {embedder.dimension} {embedder.passage_prefix}"
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        try:
            self._connection = sqlite3.connect(folder / f"vectors-{name}.sqlite", timeout=30, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS vectors (document TEXT, key BLOB, vector BLOB, PRIMARY KEY (document, key))"
            )
        except sqlite3.Error as exc:
            raise IngestError(f"cannot write in {folder}: {exc}", "free some disk space or repair the folder") from exc

    def load(self, document_id: str) -> dict[bytes, Vectors]:
        """Return the vectors kept for a document by text key, each float32 [dimension]."""
        rows = self._connection.execute("SELECT key, vector FROM vectors WHERE document=?", (document_id,))
        return {bytes(key): np.frombuffer(vector, dtype=np.float32) for key, vector in rows}

    def save(self, document_id: str, vectors: Mapping[bytes, Vectors]) -> None:
        """Keep some vectors of a document in one transaction."""
        rows = [(document_id, key, np.asarray(v, dtype=np.float32).tobytes()) for key, v in vectors.items()]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error as exc:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise IngestError(
                f"cannot cache vectors: {exc}", "free some disk space, then run the same command again"
            ) from exc

    def forget(self, document_ids: Sequence[str]) -> None:
        """Delete the vectors of documents that are stored now."""
        self._connection.executemany("DELETE FROM vectors WHERE document=?", [(d,) for d in document_ids])

    def close(self) -> None:
        """Close the file, and shrink it if no rows are left."""
        if self._connection.execute("SELECT 1 FROM vectors LIMIT 1").fetchone() is None:
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

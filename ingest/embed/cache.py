"""Vectors of documents that are not stored yet, kept on disk so that a stopped ingest embeds nothing twice."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ingest.errors import IngestError
from ingest.store import Vectors


def text_key(text: str) -> bytes:
    """Return the key of a text that was embedded: the first 16 bytes of its sha256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


class Journal:
    """One SQLite file per embedder under `home/cache`; rows go as soon as their document is stored."""

    def __init__(self, home: Path, embedder: str) -> None:
        folder = home / "cache"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = hashlib.sha256(embedder.encode()).hexdigest()[:16]
        try:
            self._connection = sqlite3.connect(folder / f"vectors-{name}.sqlite", timeout=30, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS vectors (document TEXT, key BLOB, vector BLOB, PRIMARY KEY (document, key))"
            )
        except sqlite3.Error as exc:
            raise IngestError(f"cannot write in {folder}: {exc}", "free some disk space or mend the folder") from exc

    def load(self, document_id: str) -> dict[bytes, Vectors]:
        """Return what was computed for a document before, by text key; vectors are float32 [dimension]."""
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
                f"cannot keep vectors: {exc}", "free some disk space, then run the same command again"
            ) from exc

    def forget(self, document_ids: Sequence[str]) -> None:
        """Drop what was kept for documents that are stored now."""
        self._connection.executemany("DELETE FROM vectors WHERE document=?", [(d,) for d in document_ids])

    def close(self) -> None:
        """Close the file; the space of dropped rows is given back when nothing is left."""
        if self._connection.execute("SELECT 1 FROM vectors LIMIT 1").fetchone() is None:
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

"""A library in one SQLite file: records, chunks and vectors change in one transaction."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ingest.embed.identity import Vectors
from ingest.errors import StoreError, UnknownDocument
from ingest.store.contract import Document, Hit, Identity
from ingest.store.records import identity_mismatch, unit_vectors
from ingest.store.sqlite.connections import ConnectionPool
from ingest.store.sqlite.errors import translate_errors
from ingest.store.sqlite.fulltext import Fulltext, IndexDamaged, Source
from ingest.store.sqlite.rows import (
    CHUNK_COLUMNS,
    SHIFT,
    chunk_row,
    delete_document,
    document_keys,
    indexed_chunks,
    key_and_name,
    next_generation,
    read_generation,
    read_hits,
    read_identity,
    record_text,
    set_value,
    to_chunk,
    to_document,
    value,
)
from ingest.store.sqlite.vectors import Matrix, Snapshot
from ingest.text.chunks import Chunk


def index_folder(path: Path) -> Path:
    """Return the folder of the text index that is derived from a library's file."""
    return path.with_suffix(".text")


class SQLiteStore:
    """The embedded store; open it with `open_library`. Safe in several threads and processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connections = ConnectionPool(path)
        self._writing = threading.Lock()
        self._matrix_lock = threading.Lock()
        self._text_lock = threading.Lock()
        self._matrix: Matrix | None = None
        self._snapshot: tuple[int, Snapshot] | None = None  # generation, vectors
        self._text = Fulltext(index_folder(path))
        self._changed = False
        self._closed = False
        try:
            self._inode = path.stat().st_ino
        except FileNotFoundError as exc:  # another process removed it in this moment
            raise StoreError(f"the library {path} was removed while it was opened", "start the command again") from exc
        with self._reading() as connection:
            self._library, self._name = value(connection, "uuid"), value(connection, "name")

    # records

    def identity(self) -> Identity | None:
        """Return the embedder and chunking of the library, None before the first document."""
        with self._reading() as connection:
            return read_identity(connection)

    def set_identity(self, identity: Identity) -> None:
        """Record the embedder and chunking; raises IdentityMismatch if others are recorded."""
        stored = self.identity()
        if stored is None:
            with self._changing() as connection:
                stored = read_identity(connection)  # another process may have set it first
                if stored is None:
                    set_value(connection, "identity", json.dumps(asdict(identity)))
                    return
        if stored != identity:
            raise identity_mismatch(self._name, stored, identity)

    def put(self, document: Document, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        """Store a document in one step, replacing its earlier version; vectors are float32 [n, dimension]."""
        with self._changing() as connection:
            identity = read_identity(connection)
            if identity is None:
                raise StoreError(f"library {self._name!r} has no identity yet", "call set_identity first")
            data = unit_vectors(vectors, len(chunks), identity.dimension)
            generation = next_generation(connection)
            delete_document(connection, document.id)
            record = replace(document, chunks=len(chunks))
            cursor = connection.execute(
                "INSERT INTO documents (id, version, passages, record) VALUES (?, ?, ?, ?)",
                (document.id, generation, len(chunks), record_text(record)),
            )
            key = int(cursor.lastrowid or 0)
            connection.executemany(
                f"INSERT INTO chunks ({CHUNK_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (chunk_row(key << SHIFT | position, chunk) for position, chunk in enumerate(chunks)),
            )
            connection.execute("INSERT INTO vectors VALUES (?, ?)", (key, data.astype(np.float16).tobytes()))
        self._shrink_file(least=2048)  # 8 MB; the next document reuses fewer

    def remove(self, document_id: str) -> int:
        """Remove a document and return the number of its chunks."""
        with self._changing() as connection:
            removed = delete_document(connection, document_id)
            if removed is None:
                raise self._unknown(connection, document_id)
            next_generation(connection)
        self._shrink_file()
        return removed

    def rename(self, document_id: str, name: str) -> None:
        """Change the display name of a document and of its chunks."""
        with self._changing() as connection:
            row = connection.execute("SELECT record FROM documents WHERE id = ?", (document_id,)).fetchone()
            if row is None:
                raise self._unknown(connection, document_id)
            # chunks get the name from the record when they are read
            record = record_text(replace(to_document(row[0]), name=name))
            connection.execute("UPDATE documents SET record = ? WHERE id = ?", (record, document_id))

    def documents(self) -> list[Document]:
        """Return every document's record, ordered by name."""
        with self._reading() as connection:
            found = [to_document(text) for (text,) in connection.execute("SELECT record FROM documents")]
        return sorted(found, key=lambda d: (d.name, d.id))

    def count(self, document_id: str | None = None) -> int:
        """Return the number of chunks, of one document or of all."""
        # counted, not read from the record: callers verify the record against this number
        query, values = "SELECT count(*) FROM chunks", tuple[str, ...]()
        if document_id is not None:
            query += f" WHERE row >> {SHIFT} = (SELECT key FROM documents WHERE id = ?)"  # noqa: S608
            values = (document_id,)
        with self._reading() as connection:
            return int(connection.execute(query, values).fetchone()[0])

    # search

    def search_text(self, query: str, *, limit: int, documents: Sequence[str] | None = None) -> list[Hit]:
        """Return chunks by BM25 over any words of the query; `documents` are document ids, None means all."""
        try:
            return self._search_text(query, limit, documents)
        except IndexDamaged:
            with self._text_lock:
                self._text.discard()
            return self._search_text(query, limit, documents)

    def search_vector(self, vector: Vectors, *, limit: int, documents: Sequence[str] | None = None) -> list[Hit]:
        """Return chunks by exact cosine to a float32 [dimension] vector."""
        with self._reading_vectors() as (connection, snapshot):
            identity = read_identity(connection)
            if identity is None or snapshot is None:
                return []
            unit = unit_vectors(np.asarray(vector, dtype=np.float32)[None, :], 1, identity.dimension)[0]
            keys = None if documents is None else document_keys(connection, documents)
            found = snapshot.search(unit, limit, keys)
            return read_hits(connection, [(key << SHIFT | position, score) for key, position, score in found])

    def page_chunks(self, pages: Sequence[tuple[str, int]]) -> dict[tuple[str, int], list[Chunk]]:
        """Return all chunks of the given (document id, page) pairs, in reading order."""
        found: dict[tuple[str, int], list[Chunk]] = {}
        with self._reading() as connection:
            known = {document_id: key_and_name(connection, document_id) for document_id, _ in pages}
            for document_id, page in dict.fromkeys(pages):
                row = known[document_id]
                if row is None:
                    continue
                rows = connection.execute(
                    f"SELECT {CHUNK_COLUMNS} FROM chunks WHERE row >> 24 = ? AND page = ? ORDER BY row",  # noqa: S608
                    (row[0], page),
                ).fetchall()
                if rows:
                    found[document_id, page] = [to_chunk(r, document_id, row[1]) for r in rows]
        return found

    def scan(self, document_id: str | None = None) -> Iterator[tuple[Chunk, Vectors]]:
        """Yield every chunk with its vector, document by document in reading order."""
        order = [document_id] if document_id is not None else [document.id for document in self.documents()]
        for one in order:
            # one transaction a document: nothing is locked while the caller works on it
            yield from self._scan_document(one)

    def replace_vectors(self, identity: Identity, batches: Iterator[tuple[list[str], Vectors]]) -> None:
        """Replace all vectors and the identity in one step; batches are (chunk ids, float32 [n, dimension])."""
        with self._connections.lend() as connection:
            # a temporary table: others can read and write until the swap
            with translate_errors(self.path):
                connection.execute("CREATE TEMP TABLE staged (id TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID")
            try:
                self._stage(connection, identity, batches)
                self._swap(connection, identity)
            finally:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("DROP TABLE temp.staged")
        self._shrink_file()

    def close(self) -> None:
        """Release files and connections; a second call does nothing."""
        if self._closed:
            return
        if self._changed:
            # now, so that the next question need not wait; the index can be rebuilt, so a failure here only costs time
            with contextlib.suppress(StoreError, OSError, ValueError), self._reading_text():
                pass
        self._closed = True
        self._connections.close()
        with self._text_lock:
            self._text.close()
        self._matrix = self._snapshot = None

    def __enter__(self) -> SQLiteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # connections

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection in a read transaction."""
        with self._connections.lend() as connection, translate_errors(self.path):
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection in a write transaction, committed at the end or rolled back."""
        with self._writing, self._connections.lend() as connection, translate_errors(self.path):
            self._check_present()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk may have rolled it back already
                    connection.execute("ROLLBACK")
                raise
            self._changed = True

    @contextlib.contextmanager
    def _reading_vectors(self) -> Iterator[tuple[sqlite3.Connection, Snapshot | None]]:
        with self._connections.lend() as connection, translate_errors(self.path):
            try:
                with self._matrix_lock:
                    # begun under the lock, so that the transaction is never older than the vectors in memory
                    connection.execute("BEGIN")
                    snapshot = self._current_vectors(connection)
                yield connection, snapshot
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _reading_text(self) -> Iterator[sqlite3.Connection]:
        with self._connections.lend() as connection, self._text_lock, translate_errors(self.path):
            try:
                self._current_text(connection)
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _current_vectors(self, connection: sqlite3.Connection) -> Snapshot | None:
        """Return the vectors that this transaction sees, reading only new ones from the file."""
        generation = read_generation(connection)
        if self._snapshot is not None and self._snapshot[0] == generation:
            return self._snapshot[1]
        identity = read_identity(connection)
        if identity is None:
            return None
        if self._matrix is None or self._matrix.dimension != identity.dimension:
            self._matrix = Matrix(identity.dimension)
        matrix, held = self._matrix, self._matrix.versions()
        stored = connection.execute("SELECT key, version, passages FROM documents").fetchall()
        current = {key: version for key, version, _ in stored}
        matrix.discard([key for key, version in held.items() if current.get(key) != version])
        new = [(key, version, passages) for key, version, passages in stored if held.get(key) != version]
        matrix.reserve(sum(passages for _, _, passages in new))
        for key, version, passages in new:
            (data,) = connection.execute("SELECT data FROM vectors WHERE document = ?", (key,)).fetchone()
            rows = np.frombuffer(data, dtype=np.float16).reshape(passages, identity.dimension)
            matrix.append(key, version, rows)
        self._snapshot = (generation, matrix.snapshot())
        return self._snapshot[1]

    def _current_text(self, connection: sqlite3.Connection) -> None:
        """Begin a read transaction that the text index is up to date with."""
        while True:
            connection.execute("BEGIN")
            generation = read_generation(connection)
            up_to_date = self._text.holds(self._library, generation)
            if up_to_date:
                return
            if up_to_date is False:
                stored = connection.execute("SELECT key, version FROM documents").fetchall()
                source = Source(self._library, generation, dict(stored), indexed_chunks(connection))
                self._text.update(source)
                if self._text.holds(self._library, generation):
                    return
            connection.execute("ROLLBACK")  # another process has indexed a newer version: begin again

    # steps

    def _search_text(self, query: str, limit: int, documents: Sequence[str] | None) -> list[Hit]:
        with self._reading_text() as connection:
            keys = None if documents is None else document_keys(connection, documents)
            return read_hits(connection, self._text.search(query, limit, keys))

    def _scan_document(self, document_id: str) -> Iterator[tuple[Chunk, Vectors]]:
        with self._reading() as connection:
            row = key_and_name(connection, document_id)
            identity = read_identity(connection)
            if row is None or identity is None:
                return
            key, name = row
            rows = connection.execute(
                f"SELECT {CHUNK_COLUMNS} FROM chunks WHERE row >= ? AND row < ? ORDER BY row",  # noqa: S608
                (key << SHIFT, (key + 1) << SHIFT),
            ).fetchall()
            (data,) = connection.execute("SELECT data FROM vectors WHERE document = ?", (key,)).fetchone()
        vectors = np.frombuffer(data, dtype=np.float16).reshape(len(rows), identity.dimension).astype(np.float32)
        for one, vector in zip(rows, vectors, strict=True):
            yield to_chunk(one, document_id, name), vector

    def _stage(
        self, connection: sqlite3.Connection, identity: Identity, batches: Iterator[tuple[list[str], Vectors]]
    ) -> None:
        for ids, vectors in batches:
            data = unit_vectors(vectors, len(ids), identity.dimension).astype(np.float16)
            with translate_errors(self.path):
                connection.executemany(
                    "INSERT OR REPLACE INTO temp.staged VALUES (?, ?)",
                    ((chunk_id, row.tobytes()) for chunk_id, row in zip(ids, data, strict=True)),
                )

    def _swap(self, staging: sqlite3.Connection, identity: Identity) -> None:
        with self._writing, translate_errors(self.path):
            self._check_present()
            staging.execute("BEGIN IMMEDIATE")
            try:
                generation = next_generation(staging)
                for key, passages in staging.execute("SELECT key, passages FROM documents").fetchall():
                    rows = staging.execute(
                        "SELECT s.data FROM chunks c JOIN temp.staged s ON s.id = c.id "
                        "WHERE c.row >= ? AND c.row < ? ORDER BY c.row",
                        (key << SHIFT, (key + 1) << SHIFT),
                    ).fetchall()
                    if len(rows) != passages:
                        raise StoreError(
                            f"new vectors for only {len(rows)} of {passages} chunks of a document in library "
                            f"{self._name!r}; the old vectors are kept",
                            "another process changed the library: run `quire docs reindex` again",
                        )
                    staging.execute(
                        "UPDATE vectors SET data = ? WHERE document = ?", (b"".join(r[0] for r in rows), key)
                    )
                    staging.execute("UPDATE documents SET version = ? WHERE key = ?", (generation, key))
                set_value(staging, "identity", json.dumps(asdict(identity)))
                staging.execute("COMMIT")
            except BaseException:
                if staging.in_transaction:
                    staging.execute("ROLLBACK")
                raise
            self._changed = True

    def _shrink_file(self, *, least: int = 1) -> None:
        """Shrink the file if it has `least` free pages; a reader in the way only postpones it."""
        with contextlib.suppress(sqlite3.Error), self._writing, self._connections.lend() as connection:
            (free,) = connection.execute("PRAGMA freelist_count").fetchone()
            if free >= least:
                connection.executescript("PRAGMA incremental_vacuum")  # execute() would stop after the first page
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _check_present(self) -> None:
        try:
            same = self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            same = False
        if not same:
            raise StoreError(f"the library {self.path} was removed while it was open", "start the command again")

    def _unknown(self, connection: sqlite3.Connection, document_id: str) -> UnknownDocument:
        library = value(connection, "name")
        return UnknownDocument(
            f"library {library!r} has no document {document_id!r}", "`quire docs list` shows them all"
        )

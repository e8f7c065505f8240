"""A library in one SQLite file: records, text and half-precision vectors in one transaction, found exactly and by words."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ingest.embed.identity import Vectors
from ingest.errors import SchemaTooNew, StoreError, UnknownDocument
from ingest.store.contract import Document, Hit, Identity, LibrarySummary
from ingest.store.records import document_from, identity_mismatch, unit_vectors
from ingest.store.sqlite.fulltext import Fulltext, IndexDamaged, Source
from ingest.store.sqlite.matrix import Matrix, Snapshot
from ingest.text.chunks import Chunk
from ingest.text.terms import indexed_text
from quire import UsageError

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x51756972  # "Quir", so that `file` and we know our own
_SHIFT = 24  # row of a passage = document key << 24 | position: a document's passages lie side by side on disk
_BUSY_SECONDS = 60.0  # how long to wait for another process that is writing
_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
_ROOM = 1000  # parameters of one statement

_SCHEMA = (
    "CREATE TABLE library (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # keys are never used twice: the index beside the file knows documents by them;
    # version is the library's generation when the passages last changed
    """CREATE TABLE documents (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        version INTEGER NOT NULL,
        passages INTEGER NOT NULL,
        record TEXT NOT NULL
    )""",
    # float16 [passages, dimension], one piece a document: 100,000 vectors are read in a blink
    "CREATE TABLE vectors (document INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    """CREATE TABLE chunks (
        row INTEGER PRIMARY KEY,
        page INTEGER NOT NULL,
        id TEXT NOT NULL,
        page_label TEXT NOT NULL,
        start INTEGER NOT NULL,
        end INTEGER NOT NULL,
        text TEXT NOT NULL,
        heading TEXT NOT NULL,
        margins TEXT NOT NULL,
        parser TEXT NOT NULL
    )""",
    f"CREATE INDEX chunks_by_page ON chunks (row >> {_SHIFT}, page)",
)
_CHUNK_COLUMNS = "row, page, id, page_label, start, end, text, heading, margins, parser"


class SQLiteStore:
    """The embedded store; open it with `open_library`. Safe in several threads and processes at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._free: list[_Connection] = []
        self._connections_lock = threading.Lock()
        self._writing = threading.Lock()
        self._matrix_lock = threading.Lock()
        self._text_lock = threading.Lock()
        self._matrix: Matrix | None = None
        self._snapshot: tuple[int, Snapshot] | None = None  # generation, vectors
        self._text = Fulltext(index_folder(path))
        self._changed = False
        self._closed = False
        self._inode = path.stat().st_ino
        with self._reading() as connection:
            self._library, self._name = _value(connection, "uuid"), _value(connection, "name")

    # records

    def identity(self) -> Identity | None:
        """Return what the library was made with, None while it is empty and new."""
        with self._reading() as connection:
            return _identity(connection)

    def set_identity(self, identity: Identity) -> None:
        """Record what the library is made with; raise IdentityMismatch where another is recorded."""
        stored = self.identity()
        if stored is None:
            with self._changing() as connection:
                stored = _identity(connection)  # another process may have been quicker
                if stored is None:
                    _set_value(connection, "identity", json.dumps(asdict(identity)))
                    return
        if stored != identity:
            raise identity_mismatch(self._name, stored, identity)

    def put(self, document: Document, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        """Store a document whole, in one step replacing what was stored under its id; vectors are float32 [n, dimension]."""
        with self._changing() as connection:
            identity = _identity(connection)
            if identity is None:
                raise StoreError(f"library {self._name!r} has no identity yet", "call set_identity first")
            data = unit_vectors(vectors, len(chunks), identity.dimension)
            generation = _next_generation(connection)
            _delete(connection, document.id)
            record = replace(document, chunks=len(chunks))
            cursor = connection.execute(
                "INSERT INTO documents (id, version, passages, record) VALUES (?, ?, ?, ?)",
                (document.id, generation, len(chunks), _record_text(record)),
            )
            key = int(cursor.lastrowid or 0)
            connection.executemany(
                f"INSERT INTO chunks ({_CHUNK_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (_chunk_row(key << _SHIFT | position, chunk) for position, chunk in enumerate(chunks)),
            )
            connection.execute("INSERT INTO vectors VALUES (?, ?)", (key, data.astype(np.float16).tobytes()))
        self._give_back_disk(least=2048)  # 8 MB; fewer are used again by the next document

    def remove(self, document_id: str) -> int:
        """Remove a document with all passages and return how many passages went."""
        with self._changing() as connection:
            removed = _delete(connection, document_id)
            if removed is None:
                raise self._unknown(connection, document_id)
            _next_generation(connection)
        self._give_back_disk()
        return removed

    def rename(self, document_id: str, name: str) -> None:
        """Change the display name of a document on its record and on all its passages."""
        with self._changing() as connection:
            row = connection.execute("SELECT record FROM documents WHERE id = ?", (document_id,)).fetchone()
            if row is None:
                raise self._unknown(connection, document_id)
            # passages take their document's name from the record when they are read
            record = _record_text(replace(_to_document(row[0]), name=name))
            connection.execute("UPDATE documents SET record = ? WHERE id = ?", (record, document_id))

    def documents(self) -> list[Document]:
        """Return every document's record, ordered by name."""
        with self._reading() as connection:
            found = [_to_document(text) for (text,) in connection.execute("SELECT record FROM documents")]
        return sorted(found, key=lambda d: (d.name, d.id))

    def count(self, document_id: str | None = None) -> int:
        """Return the number of passages, of one document or of all."""
        where, values = ("WHERE id = ?", (document_id,)) if document_id is not None else ("", ())
        with self._reading() as connection:
            keys = connection.execute(f"SELECT key FROM documents {where}", values).fetchall()  # noqa: S608
            # counted, not read from the record: this is the number that others verify against
            if document_id is None:
                return int(connection.execute("SELECT count(*) FROM chunks").fetchone()[0])
            return sum(
                int(
                    connection.execute(
                        "SELECT count(*) FROM chunks WHERE row >= ? AND row < ?", (key << _SHIFT, (key + 1) << _SHIFT)
                    ).fetchone()[0]
                )
                for (key,) in keys
            )

    # search

    def search_text(self, query: str, *, limit: int, documents: Sequence[str] | None = None) -> list[Hit]:
        """Return passages by BM25 over any words of the query; `documents` are document ids, None means all."""
        try:
            return self._search_text(query, limit, documents)
        except IndexDamaged:
            with self._text_lock:
                self._text.discard()
            return self._search_text(query, limit, documents)

    def search_vector(self, vector: Vectors, *, limit: int, documents: Sequence[str] | None = None) -> list[Hit]:
        """Return passages by cosine to a float32 [dimension] vector, exact."""
        with self._reading_vectors() as (connection, snapshot):
            identity = _identity(connection)
            if identity is None or snapshot is None:
                return []
            unit = unit_vectors(np.asarray(vector, dtype=np.float32)[None, :], 1, identity.dimension)[0]
            keys = None if documents is None else _keys(connection, documents)
            found = snapshot.search(unit, limit, keys)
            return _hits(connection, [(key << _SHIFT | position, score) for key, position, score in found])

    def page_chunks(self, pages: Sequence[tuple[str, int]]) -> dict[tuple[str, int], list[Chunk]]:
        """Return all passages of the given (document id, page) pairs, in order of their place."""
        found: dict[tuple[str, int], list[Chunk]] = {}
        with self._reading() as connection:
            known = {document_id: _key_and_name(connection, document_id) for document_id, _ in pages}
            for document_id, page in dict.fromkeys(pages):
                row = known[document_id]
                if row is None:
                    continue
                rows = connection.execute(
                    f"SELECT {_CHUNK_COLUMNS} FROM chunks WHERE row >> 24 = ? AND page = ? ORDER BY row",  # noqa: S608
                    (row[0], page),
                ).fetchall()
                if rows:
                    found[document_id, page] = [_to_chunk(r, document_id, row[1]) for r in rows]
        return found

    def scan(self, document_id: str | None = None) -> Iterator[tuple[Chunk, Vectors]]:
        """Yield every passage with its vector, document by document in order of place."""
        with self._reading() as connection:
            if document_id is not None:
                order = [document_id]
            else:
                rows = connection.execute("SELECT id, record FROM documents").fetchall()
                order = [row[0] for row in sorted(rows, key=lambda row: (_to_document(row[1]).name, row[0]))]
        for one in order:
            # each document is read whole and at one moment; nothing is held while the caller works on it
            yield from self._scan_document(one)

    def replace_vectors(self, identity: Identity, batches: Iterator[tuple[list[str], Vectors]]) -> None:
        """Re-embed: swap all vectors and the identity in one step; batches are (chunk ids, float32 [n, dimension])."""
        with self._connection() as connection:
            # staged in a temporary table: others go on reading and writing until the swap
            with _translated(self.path):
                connection.execute("CREATE TEMP TABLE staged (id TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID")
            try:
                self._stage(connection, identity, batches)
                self._swap(connection, identity)
            finally:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("DROP TABLE temp.staged")
        self._give_back_disk()

    def close(self) -> None:
        """Release files and connections; calling it twice does nothing."""
        if self._closed:
            return
        if self._changed:
            # now, so that the next question does not wait for it; it is derived, so a failure here costs only time
            with contextlib.suppress(StoreError, OSError, ValueError), self._reading_text():
                pass
        self._closed = True
        with self._text_lock:
            self._text.close()
        with self._connections_lock:
            free, self._free = self._free, []
        for connection in free:
            connection.close()
        self._matrix = self._snapshot = None

    def __enter__(self) -> SQLiteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # connections

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection to one thread; there are as many as threads ever worked at once."""
        if self._closed:
            raise StoreError(f"library {self.path.name} was closed", "open it again")
        with self._connections_lock:
            connection = self._free.pop() if self._free else None
        if connection is not None and connection.moment is not None and connection.moment != _moment(self.path):
            connection.close()  # someone who may write has done so
            connection = None
        if connection is None:
            with _translated(self.path):
                connection = _connect(self.path)
        try:
            yield connection
        finally:
            with self._connections_lock:
                keep = not self._closed
                if keep:
                    self._free.append(connection)
            if not keep:
                connection.close()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection that sees the library as it is at one moment."""
        with self._connection() as connection, _translated(self.path):
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection whose changes are kept together or not at all."""
        with self._writing, self._connection() as connection, _translated(self.path):
            self._check_present()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk may have rolled back already
                    connection.execute("ROLLBACK")
                raise
            self._changed = True

    @contextlib.contextmanager
    def _reading_vectors(self) -> Iterator[tuple[sqlite3.Connection, Snapshot | None]]:
        with self._connection() as connection, _translated(self.path):
            try:
                with self._matrix_lock:
                    # begun under the lock: the file's moment is never older than the vectors in memory
                    connection.execute("BEGIN")
                    snapshot = self._current_vectors(connection)
                yield connection, snapshot
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _reading_text(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as connection, self._text_lock, _translated(self.path):
            try:
                self._current_text(connection)
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _current_vectors(self, connection: sqlite3.Connection) -> Snapshot | None:
        """Return the vectors of the connection's moment, reading from the file only what is new."""
        generation = _generation(connection)
        if self._snapshot is not None and self._snapshot[0] == generation:
            return self._snapshot[1]
        identity = _identity(connection)
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
        """Begin a reading transaction of a moment that the text index is in step with."""
        while True:
            connection.execute("BEGIN")
            generation = _generation(connection)
            in_step = self._text.holds(self._library, generation)
            if in_step:
                return
            if in_step is False:
                stored = connection.execute("SELECT key, version FROM documents").fetchall()
                source = Source(self._library, generation, dict(stored), _passages_of(connection))
                self._text.update(source)
                if self._text.holds(self._library, generation):
                    return
            connection.execute("ROLLBACK")  # another process indexed a newer moment: look again

    # steps

    def _search_text(self, query: str, limit: int, documents: Sequence[str] | None) -> list[Hit]:
        with self._reading_text() as connection:
            keys = None if documents is None else _keys(connection, documents)
            return _hits(connection, self._text.search(query, limit, keys))

    def _scan_document(self, document_id: str) -> Iterator[tuple[Chunk, Vectors]]:
        with self._reading() as connection:
            row = _key_and_name(connection, document_id)
            identity = _identity(connection)
            if row is None or identity is None:
                return
            key, name = row
            rows = connection.execute(
                f"SELECT {_CHUNK_COLUMNS} FROM chunks WHERE row >= ? AND row < ? ORDER BY row",  # noqa: S608
                (key << _SHIFT, (key + 1) << _SHIFT),
            ).fetchall()
            (data,) = connection.execute("SELECT data FROM vectors WHERE document = ?", (key,)).fetchone()
        vectors = np.frombuffer(data, dtype=np.float16).reshape(len(rows), identity.dimension).astype(np.float32)
        for one, vector in zip(rows, vectors, strict=True):
            yield _to_chunk(one, document_id, name), vector

    def _stage(
        self, connection: sqlite3.Connection, identity: Identity, batches: Iterator[tuple[list[str], Vectors]]
    ) -> None:
        for ids, vectors in batches:
            data = unit_vectors(vectors, len(ids), identity.dimension).astype(np.float16)
            with _translated(self.path):
                connection.executemany(
                    "INSERT OR REPLACE INTO temp.staged VALUES (?, ?)",
                    ((chunk_id, row.tobytes()) for chunk_id, row in zip(ids, data, strict=True)),
                )

    def _swap(self, staging: sqlite3.Connection, identity: Identity) -> None:
        with self._writing, _translated(self.path):
            self._check_present()
            staging.execute("BEGIN IMMEDIATE")
            try:
                generation = _next_generation(staging)
                for key, passages in staging.execute("SELECT key, passages FROM documents").fetchall():
                    rows = staging.execute(
                        "SELECT s.data FROM chunks c JOIN temp.staged s ON s.id = c.id "
                        "WHERE c.row >= ? AND c.row < ? ORDER BY c.row",
                        (key << _SHIFT, (key + 1) << _SHIFT),
                    ).fetchall()
                    if len(rows) != passages:
                        raise StoreError(
                            f"new vectors came for {len(rows)} of {passages} passages of a document in library "
                            f"{self._name!r}; the old ones stay",
                            "another process changed the library meanwhile: run `quire docs reindex` again",
                        )
                    staging.execute(
                        "UPDATE vectors SET data = ? WHERE document = ?", (b"".join(r[0] for r in rows), key)
                    )
                    staging.execute("UPDATE documents SET version = ? WHERE key = ?", (generation, key))
                _set_value(staging, "identity", json.dumps(asdict(identity)))
                staging.execute("COMMIT")
            except BaseException:
                if staging.in_transaction:
                    staging.execute("ROLLBACK")
                raise
            self._changed = True

    def _give_back_disk(self, *, least: int = 1) -> None:
        """Cut free pages off the file where there are `least`; a reader in the way only postpones it."""
        with contextlib.suppress(sqlite3.Error), self._writing, self._connection() as connection:
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
        library = _value(connection, "name")
        return UnknownDocument(
            f"library {library!r} holds no document {document_id!r}", "`quire docs list` shows them all"
        )


# opening


def library_path(home: Path, name: str) -> Path:
    """Return the file of a library: never outside the folder, and never the same for two names, whatever they hold."""
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise UsageError(f"{name[:80]!r} cannot be a library's name", "use 1 to 200 characters that can be printed")
    if _PLAIN_NAME.fullmatch(name):
        return home / "libraries" / f"{name}.sqlite"
    # "~" stands in no plain name, so a hashed name cannot meet one; file systems may not tell upper from lower case
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return home / "libraries" / f"{readable}~{digest}.sqlite"


def index_folder(path: Path) -> Path:
    """Return the folder of the text index that is derived from a library's file."""
    return path.with_suffix(".text")


def open_library(home: Path, name: str, *, create: bool) -> SQLiteStore:
    """Open the library of that name; raises StoreError where it is absent (without `create`), damaged or too new."""
    path = library_path(home, name)
    with _translated(path):
        if create:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # born readable by its owner only; what SQLite puts beside it inherits this
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        elif not path.is_file():
            raise _absent(name)
        connection = _connect(path)
        try:
            if create:
                _create_schema(connection, name)
            elif _schema_version(connection) == 0:
                raise _absent(name)
            _check_schema(connection, path, name)
        finally:
            connection.close()
    return SQLiteStore(path)


def list_libraries(home: Path) -> list[LibrarySummary]:
    """Return all libraries of a home folder by name; one that cannot be read says why in `problem`."""
    found = []
    for path in sorted((home / "libraries").glob("*.sqlite")):
        size = _size(path)
        try:
            with _translated(path), contextlib.closing(_connect(path)) as connection:
                if _schema_version(connection) == 0:
                    continue  # a creation that was cut short: it holds nothing and the next one finishes it
                _check_schema(connection, path, None)
                documents, passages = connection.execute("SELECT count(*), total(passages) FROM documents").fetchone()
                found.append(LibrarySummary(_value(connection, "name"), documents, int(passages), "sqlite", size))
        except StoreError as exc:
            found.append(LibrarySummary(path.stem, 0, 0, "sqlite", size, problem=str(exc)))
    return sorted(found, key=lambda summary: summary.name)


def remove_library_files(home: Path, name: str) -> None:
    """Remove a library with its text index; raises StoreError where there is none or another process is writing it."""
    import shutil

    path = library_path(home, name)
    if not path.is_file():
        raise _absent(name)
    with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(_connect(path)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise _translate(exc, path) from exc
    with _translated(path):
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        shutil.rmtree(index_folder(path), ignore_errors=True)


class _Connection(sqlite3.Connection):
    """A connection that may take the file for one that never changes: then it is good for that `moment` only."""

    moment: tuple[int, ...] | None = None


def _moment(path: Path) -> tuple[int, ...]:
    """Return what changes with the file: its place, time and size, and how much waits in the log beside it."""
    waiting = 0
    with contextlib.suppress(FileNotFoundError):
        waiting = Path(f"{path}-wal").stat().st_size
    try:
        status = path.stat()
    except FileNotFoundError:  # removed meanwhile: what uses the library next says so
        return 0, 0, 0, waiting
    return status.st_ino, status.st_mtime_ns, status.st_size, waiting


def _connect(path: Path) -> _Connection:
    try:
        return _open(path, "mode=rw")
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
        moment = _moment(path)
        if moment[-1] or not os.access(path, os.R_OK):  # what waits in the log would not be seen
            raise
    # a folder that cannot be written: SQLite cannot make its shared memory there, and needs none while nobody writes
    frozen = _open(path, "immutable=1")
    frozen.moment = moment
    return frozen


def _open(path: Path, mode: str) -> _Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,  # lent to one thread at a time
        factory=_Connection,
    )
    try:
        connection.execute("PRAGMA user_version")  # the first look at the file: what is wrong with it comes up here
        connection.execute("PRAGMA synchronous = FULL")  # what was acknowledged outlives a power cut
        connection.execute("PRAGMA secure_delete = ON")  # a removed document leaves no text behind in the file
        connection.execute("PRAGMA journal_size_limit = 67108864")
    except BaseException:
        connection.close()
        raise
    return connection


def _create_schema(connection: sqlite3.Connection, name: str) -> None:
    if _schema_version(connection) != 0:
        return
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # must come before the first table
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _schema_version(connection) == 0:  # another process may have been quicker
            for statement in _SCHEMA:
                connection.execute(statement)
            _set_value(connection, "name", name)
            _set_value(connection, "uuid", str(uuid.uuid4()))
            _set_value(connection, "generation", "0")
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _schema_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _check_schema(connection: sqlite3.Connection, path: Path, name: str | None) -> None:
    """Raise where the file is not ours, is too new, or is another library's."""
    version = _schema_version(connection)
    if int(connection.execute("PRAGMA application_id").fetchone()[0]) != _APPLICATION_ID:
        raise StoreError(f"{path} is an SQLite file, but no library of quire", "move it out of the folder")
    if version > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"{path} has schema {version}, this quire knows up to {SCHEMA_VERSION}", "use the newer quire that wrote it"
        )
    stored = _value(connection, "name")
    if name is not None and stored != name:
        raise StoreError(f"{path} holds library {stored!r}, not {name!r}", "the file was renamed: give it its old name")


def _absent(name: str) -> StoreError:
    return StoreError(f"there is no library {name!r}", "`quire libraries` lists them; `quire ingest PATH` makes one")


# rows


def _value(connection: sqlite3.Connection, name: str) -> str:
    row = connection.execute("SELECT value FROM library WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else ""


def _set_value(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO library VALUES (?, ?)", (name, value))


def _identity(connection: sqlite3.Connection) -> Identity | None:
    text = _value(connection, "identity")
    return Identity(**json.loads(text)) if text else None


def _generation(connection: sqlite3.Connection) -> int:
    return int(_value(connection, "generation"))


def _next_generation(connection: sqlite3.Connection) -> int:
    generation = _generation(connection) + 1
    _set_value(connection, "generation", str(generation))
    return generation


def _delete(connection: sqlite3.Connection, document_id: str) -> int | None:
    row = connection.execute("SELECT key FROM documents WHERE id = ?", (document_id,)).fetchone()
    if row is None:
        return None
    key = row[0]
    gone = connection.execute("DELETE FROM chunks WHERE row >= ? AND row < ?", (key << _SHIFT, (key + 1) << _SHIFT))
    connection.execute("DELETE FROM vectors WHERE document = ?", (key,))
    connection.execute("DELETE FROM documents WHERE key = ?", (key,))
    return gone.rowcount


def _keys(connection: sqlite3.Connection, document_ids: Sequence[str]) -> list[int]:
    ids = json.dumps(list(document_ids))
    rows = connection.execute("SELECT key FROM documents WHERE id IN (SELECT value FROM json_each(?))", (ids,))
    return [key for (key,) in rows]


def _hits(connection: sqlite3.Connection, found: Sequence[tuple[int, float]]) -> list[Hit]:
    """Return the passages of rows in the order given; all are read at the connection's moment."""
    chunks: dict[int, tuple[Any, ...]] = {}
    for start in range(0, len(found), _ROOM):
        rows = [row for row, _ in found[start : start + _ROOM]]
        marks = ",".join("?" * len(rows))
        query = f"SELECT {_CHUNK_COLUMNS} FROM chunks WHERE row IN ({marks})"  # noqa: S608
        chunks.update((values[0], values) for values in connection.execute(query, rows))
    named = "SELECT id, json_extract(record, '$.name') FROM documents WHERE key = ?"
    documents = {key: connection.execute(named, (key,)).fetchone() for key in {row >> _SHIFT for row, _ in found}}
    return [Hit(_to_chunk(chunks[row], *documents[row >> _SHIFT]), score) for row, score in found]


def _key_and_name(connection: sqlite3.Connection, document_id: str) -> tuple[int, str] | None:
    """Return a document's key and display name; the whole record, outline and all, takes a hundred times longer to read."""
    named = "SELECT key, json_extract(record, '$.name') FROM documents WHERE id = ?"
    row: tuple[int, str] | None = connection.execute(named, (document_id,)).fetchone()
    return row


def _passages_of(connection: sqlite3.Connection) -> Callable[[int], Iterator[tuple[int, str]]]:
    def passages(key: int) -> Iterator[tuple[int, str]]:
        (record,) = connection.execute("SELECT record FROM documents WHERE key = ?", (key,)).fetchone()
        document = _to_document(record)
        rows = connection.execute(
            f"SELECT {_CHUNK_COLUMNS} FROM chunks WHERE row >= ? AND row < ?",  # noqa: S608
            (key << _SHIFT, (key + 1) << _SHIFT),
        )
        for row in rows:
            yield row[0], indexed_text(_to_chunk(row, document.id, document.name), document.source, document.title)

    return passages


def _record_text(document: Document) -> str:
    return json.dumps(asdict(document))


def _to_document(text: str) -> Document:
    return document_from(json.loads(text))


def _chunk_row(row: int, chunk: Chunk) -> tuple[Any, ...]:
    margins = json.dumps(chunk.running_lines) if chunk.running_lines else ""
    return (
        row,
        chunk.page,
        chunk.id,
        chunk.page_label,
        chunk.start,
        chunk.end,
        chunk.text,
        chunk.heading,
        margins,
        chunk.parser,
    )


def _to_chunk(row: tuple[Any, ...], document_id: str, document: str) -> Chunk:
    _, page, chunk_id, page_label, start, end, text, heading, margins, parser = row
    ranges = tuple((a, b) for a, b in json.loads(margins)) if margins else ()
    return Chunk(
        chunk_id,
        document_id,
        document,
        page,
        page_label,
        start,
        end,
        text,
        heading,
        running_lines=ranges,
        parser=parser,
    )


# errors


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        raise _translate(exc, path) from exc
    except OSError as exc:
        raise StoreError(
            f"{path}: {exc.strerror or exc}",
            "free some space or check the folder's permissions; the library is unharmed",
        ) from exc


def _translate(exc: sqlite3.Error, path: Path) -> StoreError:
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StoreError(
            f"{path} could not be written: {exc}",
            "free some disk space and run the command again; what was stored before is unharmed",
        )
    if code == sqlite3.SQLITE_BUSY:
        return StoreError(
            f"{path} has been busy with another process's writing for {_BUSY_SECONDS:.0f} s",
            "wait for it to end, or end it, and run the command again",
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return StoreError(f"{path} is damaged: {exc}", "move it away and ingest again, or restore a copy of it")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return _no_permission(exc, path)
    return StoreError(f"{path}: {exc}", "run the command again; if it stays, please report it with this line")


def _no_permission(exc: sqlite3.Error, path: Path) -> StoreError:
    log = Path(f"{path}-wal")
    if not os.access(path, os.R_OK):
        return StoreError(
            f"{path} cannot be read: permission denied", "have its owner let you read it, or set QUIRE_HOME"
        )
    if log.exists() and log.stat().st_size and not os.access(path.parent, os.W_OK):
        return StoreError(
            f"{path} has changes waiting in {log.name}, and {path.parent} cannot be written: {exc}",
            "have its owner run `quire docs list` once, which puts them away; then it can be read",
        )
    return StoreError(
        f"{path} cannot be written: {exc}",
        "reading needs no more; to change it, get write permission on the file and its folder, or set QUIRE_HOME",
    )


def _size(path: Path) -> int:
    beside = [Path(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")]
    return sum(p.stat().st_size for p in [*beside, *index_folder(path).rglob("*")] if p.is_file())

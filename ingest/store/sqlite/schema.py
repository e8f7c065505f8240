"""The tables of a library's file: creates them and checks their version."""

from __future__ import annotations

import sqlite3
import uuid
from pathlib import Path

from ingest.errors import SchemaTooNew, StoreError
from ingest.store.sqlite.rows import SHIFT, set_value, value

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x51756972  # "Quir", so that `file` and we know our own

_SCHEMA = (
    "CREATE TABLE library (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # Keys are never reused, since the text index refers to documents by them.
    # The version is the library's generation at the last change of the chunks.
    """CREATE TABLE documents (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        version INTEGER NOT NULL,
        passages INTEGER NOT NULL,
        record TEXT NOT NULL
    )""",
    # float16 [chunks, dimension], one blob a document: 100,000 vectors load in well under a second
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
    f"CREATE INDEX chunks_by_page ON chunks (row >> {SHIFT}, page)",
)


def create_schema(connection: sqlite3.Connection, name: str) -> None:
    if schema_version(connection) != 0:
        return
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has no effect after the first table
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if schema_version(connection) == 0:  # another process may have created it first
            for statement in _SCHEMA:
                connection.execute(statement)
            set_value(connection, "name", name)
            set_value(connection, "uuid", str(uuid.uuid4()))
            set_value(connection, "generation", "0")
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def schema_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_schema(connection: sqlite3.Connection, path: Path, name: str | None) -> None:
    """Raise StoreError if the file is not ours, is too new, or is that of another library."""
    version = schema_version(connection)
    if int(connection.execute("PRAGMA application_id").fetchone()[0]) != _APPLICATION_ID:
        raise StoreError(f"{path} is an SQLite file, but not a library of quire", "move it out of the folder")
    if version > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"{path} has schema {version}, this version of quire reads up to {SCHEMA_VERSION}",
            "use the newer version that wrote it",
        )
    stored = value(connection, "name")
    if name is not None and stored != name:
        raise StoreError(f"{path} contains library {stored!r}, not {name!r}", "rename the file back to its old name")


def absent(name: str) -> StoreError:
    return StoreError(f"there is no library {name!r}", "`quire libraries` lists all; `quire ingest PATH` creates one")

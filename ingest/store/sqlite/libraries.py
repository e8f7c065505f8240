"""The libraries of a home folder: opens, lists and removes them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import sqlite3
from pathlib import Path

from ingest.errors import StoreError
from ingest.store.contract import LibrarySummary
from ingest.store.sqlite.connections import connect
from ingest.store.sqlite.errors import translate, translate_errors
from ingest.store.sqlite.rows import value
from ingest.store.sqlite.schema import absent, check_schema, create_schema, schema_version
from ingest.store.sqlite.store import SQLiteStore, index_folder
from quire import UsageError

_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")


def library_path(home: Path, name: str) -> Path:
    """Return the file of a library: always inside the folder, and another one for each name."""
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise UsageError(f"{name[:80]!r} is not a valid library name", "use 1 to 200 printable characters")
    if _PLAIN_NAME.fullmatch(name):
        return home / "libraries" / f"{name}.sqlite"
    # No plain name holds "~", so a hashed name never equals one. Some file systems ignore case.
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return home / "libraries" / f"{readable}~{digest}.sqlite"


def open_library(home: Path, name: str, *, create: bool) -> SQLiteStore:
    """Open a library; raises StoreError if it is missing (without `create`), damaged or too new."""
    path = library_path(home, name)
    with translate_errors(path):
        if create:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # created readable by its owner only; SQLite gives its other files the same mode
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        elif not path.is_file():
            raise absent(name)
        connection = connect(path)
        try:
            if create:
                create_schema(connection, name)
            elif schema_version(connection) == 0:
                raise absent(name)
            check_schema(connection, path, name)
        finally:
            connection.close()
    return SQLiteStore(path)


def list_libraries(home: Path) -> list[LibrarySummary]:
    """Return all libraries of a home folder by name; `problem` says why one cannot be read."""
    found = []
    for path in sorted((home / "libraries").glob("*.sqlite")):
        size = _size(path)
        try:
            with translate_errors(path), contextlib.closing(connect(path)) as connection:
                if schema_version(connection) == 0:
                    continue  # its creation was interrupted: it is empty, and the next one completes it
                check_schema(connection, path, None)
                documents, passages = connection.execute("SELECT count(*), total(passages) FROM documents").fetchone()
                found.append(LibrarySummary(value(connection, "name"), documents, int(passages), "sqlite", size))
        except StoreError as exc:
            found.append(LibrarySummary(path.stem, 0, 0, "sqlite", size, problem=str(exc)))
    return sorted(found, key=lambda summary: summary.name)


def remove_library_files(home: Path, name: str) -> None:
    """Remove a library and its text index; raises StoreError if it is missing or being written."""
    path = library_path(home, name)
    if not path.is_file():
        raise absent(name)
    with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(connect(path)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise translate(exc, path) from exc
    with translate_errors(path):
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        shutil.rmtree(index_folder(path), ignore_errors=True)


def _size(path: Path) -> int:
    beside = [Path(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")]
    return sum(p.stat().st_size for p in [*beside, *index_folder(path).rglob("*")] if p.is_file())

"""Translates errors of SQLite and of the disk into StoreError."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ingest.errors import StoreError

BUSY_SECONDS = 60.0  # how long to wait for another process that is writing


@contextlib.contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        raise translate(exc, path) from exc
    except OSError as exc:
        raise StoreError(
            f"{path}: {exc.strerror or exc}",
            "free some disk space or check the folder's permissions; the library is unchanged",
        ) from exc


def translate(exc: sqlite3.Error, path: Path) -> StoreError:
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StoreError(
            f"{path} could not be written: {exc}",
            "free some disk space and run the command again; what was already stored is kept",
        )
    if code == sqlite3.SQLITE_BUSY:
        return StoreError(
            f"{path} has been locked by another writing process for {BUSY_SECONDS:.0f} s",
            "wait until that process ends, or stop it, and run the command again",
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return StoreError(f"{path} is damaged: {exc}", "move it away and ingest again, or restore a copy of it")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return _no_permission(exc, path)
    return StoreError(f"{path}: {exc}", "run the command again; if it happens again, please report it with this line")


def _no_permission(exc: sqlite3.Error, path: Path) -> StoreError:
    log = Path(f"{path}-wal")
    if not os.access(path, os.R_OK):
        return StoreError(
            f"{path} cannot be read: permission denied", "ask its owner for permission to read it, or set QUIRE_HOME"
        )
    if log.exists() and log.stat().st_size and not os.access(path.parent, os.W_OK):
        return StoreError(
            f"{path} has changes waiting in {log.name}, and {path.parent} cannot be written: {exc}",
            "ask its owner to run `quire docs list` once, which writes them to the file",
        )
    return StoreError(
        f"{path} cannot be written: {exc}",
        "it can be read; to change it, get write permission for the file and its folder, or set QUIRE_HOME",
    )

"""Opens connections to a library's file, also where the folder is read-only."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from ingest.errors import StoreError
from ingest.store.sqlite.errors import BUSY_SECONDS, translate_errors


class Connection(sqlite3.Connection):
    """A connection; one to a read-only file is valid only while the file's state is `read_only_state`."""

    read_only_state: tuple[int, ...] | None = None


def file_state(path: Path) -> tuple[int, ...]:
    """Return what changes when the file changes: inode, time, size, and the size of the write-ahead log."""
    waiting = 0
    with contextlib.suppress(FileNotFoundError):
        waiting = Path(f"{path}-wal").stat().st_size
    try:
        status = path.stat()
    except FileNotFoundError:  # removed in the meantime: the next use of the library reports it
        return 0, 0, 0, waiting
    return status.st_ino, status.st_mtime_ns, status.st_size, waiting


def connect(path: Path) -> Connection:
    try:
        return _open(path, "mode=rw")
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
        state = file_state(path)
        if state[-1] or not os.access(path, os.R_OK):  # changes that are still in the log would not be seen
            raise
    # In a read-only folder SQLite cannot create its shared memory, and needs none while nobody writes.
    frozen = _open(path, "immutable=1")
    frozen.read_only_state = state
    return frozen


def _open(path: Path, mode: str) -> Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,  # lent to one thread at a time
        factory=Connection,
    )
    try:
        connection.execute("PRAGMA user_version")  # the first read of the file: a damaged one fails here
        connection.execute("PRAGMA synchronous = FULL")  # acknowledged changes survive a power cut
        connection.execute("PRAGMA secure_delete = ON")  # no text of a removed document stays in the file
        connection.execute("PRAGMA journal_size_limit = 67108864")
    except BaseException:
        connection.close()
        raise
    return connection


class ConnectionPool:
    """Lends each connection to one thread at a time; there are as many as threads ever worked at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._free: list[Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextlib.contextmanager
    def lend(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection; raises StoreError after `close`."""
        if self._closed:
            raise StoreError(f"library {self._path.name} was closed", "open it again")
        with self._lock:
            connection = self._free.pop() if self._free else None
        if connection is not None and connection.read_only_state not in (None, file_state(self._path)):
            connection.close()  # a process that may write has written
            connection = None
        if connection is None:
            with translate_errors(self._path):
                connection = connect(self._path)
        try:
            yield connection
        finally:
            with self._lock:
                keep = not self._closed
                if keep:
                    self._free.append(connection)
            if not keep:
                connection.close()

    def close(self) -> None:
        """Close the free connections now, and each lent one when it comes back."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
        for connection in free:
            connection.close()

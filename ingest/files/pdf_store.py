"""The stored PDFs: one copy of each content in the home folder, with the documents that refer to it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ingest.errors import IngestError, UnreadablePDF

FOLDER = "files"  # in the home folder
REFERENCES = "uses.sqlite"  # in FOLDER: which documents refer to each stored PDF
_BLOCK_BYTES = 1 << 20
_KEY = re.compile(r"[0-9a-f]{64}(-[0-9a-f]{16})?")


class PdfStore:
    """PDFs at `home/files/KEY.pdf`, readable by their owner only, each deleted with the last reference to it.

    A key is the sha256 of the file as given; of a copy with the text of OCR it is "SHA256-LAYER" (Document.stored_pdf).
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, key: str) -> Path | None:
        """Return the path of the PDF with this key, None if it is on another machine or was removed."""
        path = self._path_of(key)
        return path if path.is_file() else None

    def take(self, source: Path) -> tuple[Path, str, int]:
        """Copy a file to a temporary path; return that path and the sha256 and size of what was copied.

        Raises UnreadablePDF if the source cannot be read, IngestError if the copy cannot be written.
        """
        digest, size = hashlib.sha256(), 0
        try:
            reader = source.open("rb")
        except OSError as exc:
            raise UnreadablePDF(f"{source}: {exc.strerror}", "check the file and its permissions") from exc
        try:
            handle, name = tempfile.mkstemp(dir=self.folder, prefix="incoming-", suffix=".pdf")
            with reader, os.fdopen(handle, "wb") as writer:
                while block := reader.read(_BLOCK_BYTES):
                    digest.update(block)
                    size += len(block)
                    writer.write(block)
        except OSError as exc:
            with contextlib.suppress(OSError, UnboundLocalError):
                Path(name).unlink()
            raise IngestError(
                f"cannot copy {source} to {self.folder}: {exc.strerror}",
                "free some disk space, then run it again",
            ) from exc
        return Path(name), digest.hexdigest(), size

    def sweep(self, *, older_than_seconds: float = 86_400) -> None:
        """Delete temporary copies that a killed run left behind."""
        for path in self.folder.glob("incoming-*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > older_than_seconds:
                    path.unlink()

    def keep(self, temporary: Path, key: str, *, library: str, document_id: str) -> Path:
        """Move a temporary copy to its final path and record that this document refers to it."""
        target = self._path_of(key)
        temporary.chmod(0o600)
        with self._references() as references:
            temporary.replace(target)
            references.execute("INSERT OR IGNORE INTO uses VALUES (?, ?, ?)", (key, library, document_id))
        return target

    def release(self, *, library: str, document_id: str, keep_key: str = "") -> None:
        """Delete the references of a document (except to `keep_key`), and the PDFs without any other."""
        with self._references() as references:
            rows = references.execute(
                "SELECT sha256 FROM uses WHERE library=? AND document=? AND sha256<>?",
                (library, document_id, keep_key),
            ).fetchall()
            for (key,) in rows:
                references.execute(
                    "DELETE FROM uses WHERE sha256=? AND library=? AND document=?",
                    (key, library, document_id),
                )
                if not references.execute("SELECT 1 FROM uses WHERE sha256=?", (key,)).fetchone():
                    self._path_of(key).unlink(missing_ok=True)

    def release_library(self, library: str) -> None:
        """Delete the references of all documents of a library, and the PDFs without any other."""
        with self._references() as references:
            documents = references.execute("SELECT DISTINCT document FROM uses WHERE library=?", (library,)).fetchall()
        for (document_id,) in documents:
            self.release(library=library, document_id=document_id)

    def _path_of(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise IngestError(f"{key[:80]!r} is not the hash of a document", "name a document of the library")
        return self.folder / f"{key}.pdf"

    @contextlib.contextmanager
    def _references(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.folder / REFERENCES, timeout=30, isolation_level=None)
        try:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS uses"
                " (sha256 TEXT, library TEXT, document TEXT, PRIMARY KEY (sha256, library, document))"
            )
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        finally:
            connection.close()

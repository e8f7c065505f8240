"""Writes a decrypted copy of a PDF."""

from __future__ import annotations

import os
from pathlib import Path

from ingest.errors import PasswordRequired, UnreadablePDF
from ingest.pdf import pdfium, pypdf


def decrypted_copy(path: Path, password: str | None, target: Path) -> None:
    """Write the document without encryption to `target`, readable by its owner only; all of it or nothing."""
    import pypdfium2.raw

    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            try:
                with pdfium.opened(path, password) as document:
                    document.save(file, flags=pypdfium2.raw.FPDF_REMOVE_SECURITY)
            except PasswordRequired:
                raise
            except (UnreadablePDF, pypdfium2.PdfiumError):  # a security handler that PDFium lacks
                file.seek(0)
                file.truncate()
                pypdf.write_decrypted(path, password, file)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)

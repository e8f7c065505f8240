"""Decrypted copies."""

import os
import stat
from pathlib import Path

import pytest
from pypdf import PdfReader

from ingest.errors import PasswordRequired
from ingest.pdf.decrypt import decrypted_copy
from ingest.pdf.read import read_pdf
from ingest.pdf.render import page_rectangles
from tests.ingest import pdfs


def test_the_decrypted_copy_opens_without_a_password_and_for_its_owner_only(folder: Path) -> None:
    path = pdfs.encrypted(folder / "locked.pdf", user="right", owner="boss")
    target = folder / "open.pdf"
    target.write_bytes(b"older")
    decrypted_copy(path, "right", target)
    assert not PdfReader(target).is_encrypted
    assert read_pdf(target).pages == read_pdf(path, password="right").pages
    if os.name == "posix":
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert page_rectangles(target, 1, 0, 6) == page_rectangles(path, 1, 0, 6, password="right")


def test_a_wrong_password_leaves_no_copy(folder: Path) -> None:
    path = pdfs.encrypted(folder / "shut.pdf", user="right", owner="boss")
    target = folder / "never.pdf"
    with pytest.raises(PasswordRequired, match="wrong"):
        decrypted_copy(path, "wrong", target)
    assert not list(folder.glob("never*"))

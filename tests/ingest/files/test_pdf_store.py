import hashlib
import os
import stat
import time
from pathlib import Path

import pytest

from ingest.errors import IngestError, UnreadablePDF
from ingest.files.pdf_store import PdfStore


def kept(pdfs: PdfStore, tmp_path: Path, data: bytes, *, library: str = "l", document: str = "d") -> str:
    source = tmp_path / "source.pdf"
    source.write_bytes(data)
    temporary, sha256, size = pdfs.take(source)
    assert size == len(data)
    pdfs.keep(temporary, sha256, library=library, document_id=document)
    return sha256


def test_a_copy_is_found_by_its_hash_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    pdfs = PdfStore(tmp_path)
    sha256 = kept(pdfs, tmp_path, b"one")
    assert sha256 == hashlib.sha256(b"one").hexdigest()
    path = pdfs.path(sha256)
    assert path is not None
    assert path.read_bytes() == b"one"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(pdfs.folder.glob("incoming-*")) == []


def test_a_copy_stays_as_long_as_one_document_uses_it(tmp_path: Path) -> None:
    pdfs = PdfStore(tmp_path)
    sha256 = kept(pdfs, tmp_path, b"one", document="first")
    kept(pdfs, tmp_path, b"one", document="second")
    pdfs.release(library="l", document_id="first")
    assert pdfs.path(sha256) is not None
    pdfs.release(library="l", document_id="second")
    assert pdfs.path(sha256) is None


def test_removing_a_library_takes_its_copies_and_no_others(tmp_path: Path) -> None:
    pdfs = PdfStore(tmp_path)
    mine, both = kept(pdfs, tmp_path, b"mine", document="a"), kept(pdfs, tmp_path, b"both", document="b")
    kept(pdfs, tmp_path, b"both", library="other", document="b")
    pdfs.release_library("l")
    assert pdfs.path(mine) is None
    assert pdfs.path(both) is not None


def test_a_replaced_version_goes_and_the_new_one_stays(tmp_path: Path) -> None:
    pdfs = PdfStore(tmp_path)
    old, new = kept(pdfs, tmp_path, b"old"), kept(pdfs, tmp_path, b"new")
    pdfs.release(library="l", document_id="d", keep_key=new)
    assert pdfs.path(old) is None
    assert pdfs.path(new) is not None


def test_only_old_leftovers_are_swept(tmp_path: Path) -> None:
    pdfs = PdfStore(tmp_path)
    for name, age in (("incoming-old.pdf", 100_000), ("incoming-new.pdf", 0)):
        (pdfs.folder / name).write_bytes(b"x")
        os.utime(pdfs.folder / name, (time.time() - age,) * 2)
    pdfs.sweep()
    assert [p.name for p in pdfs.folder.glob("incoming-*")] == ["incoming-new.pdf"]


@pytest.mark.parametrize("sha256", ["../../etc/passwd", "", "A" * 64, "a" * 63])
def test_only_a_hash_leads_to_a_file(tmp_path: Path, sha256: str) -> None:
    with pytest.raises(IngestError, match="name a document of the library"):
        PdfStore(tmp_path).path(sha256)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePDF, match=r"gone\.pdf.*check the file"):
        PdfStore(tmp_path).take(tmp_path / "gone.pdf")

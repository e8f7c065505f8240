"""Scans through the whole ingest: text, marks, notices, limits, and what a killed run leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from ingest.config import IngestConfig
from ingest.errors import IngestError, NoTextInPDF
from ingest.files.pdf_store import PdfStore
from ingest.ocr import tesseract
from ingest.ocr.journal import FOLDER
from ingest.parsing import Job, Parsed, parse_all
from ingest.pdf.read import read_pdf
from ingest.pdf.render import page_rectangles
from ingest.pipeline import ingest, reocr
from ingest.store.contract import Document
from ingest.store.opening import open_store
from tests.ingest import pdfs, scans

ROOT = Path(__file__).parents[3]


@pytest.fixture
def config(tmp_path: Path, installed: str) -> IngestConfig:
    return IngestConfig(home=tmp_path / "home", jobs=1, ocr=installed)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return scans.scanned(tmp_path / "scan.pdf", scans.statement(*scans.SALES))


def mixed(path: Path) -> Path:
    """A page of text, a scan, a page of text."""
    from pypdf import PdfWriter

    text = pdfs.saved(pdfs.document(pdfs.SENTENCE * 8, pdfs.SENTENCE * 9), path.with_suffix(".text.pdf"))
    writer = PdfWriter()
    writer.append(text, pages=(0, 1))
    writer.append(scans.scanned(path.with_suffix(".scan.pdf"), scans.statement(*scans.SALES)))
    writer.append(text, pages=(1, 2))
    writer.write(path)
    return path


def stored(config: IngestConfig) -> Document:
    library = open_store(config, create=False)
    try:
        [document] = library.documents()
        return document
    finally:
        library.close()


def parsed(path: Path, config: IngestConfig) -> Parsed:
    [(_, outcome)] = parse_all([Job(path, "id", path.name, "0" * 64)], workers=1, config=config)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def test_a_mixed_file_is_read_whole_and_its_pages_of_text_as_before(tmp_path: Path, config: IngestConfig) -> None:
    path = mixed(tmp_path / "mixed.pdf")
    before, after = read_pdf(path), parsed(path, config).pdf
    assert [page.kind for page in before.pages] == ["text", "scanned", "text"]
    assert [page.kind for page in after.pages] == ["text", "text", "text"]
    assert [after.pages[n].text for n in (0, 2)] == [before.pages[n].text for n in (0, 2)]
    assert after.pages[1].text.splitlines() == [line.replace("|", " ") for line in scans.SALES]
    assert [bool(page.ocr) for page in after.pages] == [False, True, False]
    assert after.pages[1].confidence > 0.8


def test_the_mark_on_a_scan_is_where_it_is_on_the_original(scan: Path, config: IngestConfig) -> None:
    original = scan.with_suffix(".original.pdf")
    report = ingest([str(scan)], config)
    assert not report.failed
    copy = PdfStore(config.home).path(stored(config).stored_pdf)
    assert copy is not None

    def mark(path: Path) -> tuple[float, ...]:
        text = read_pdf(path).pages[0].text
        start = text.index("16,055")
        [box] = page_rectangles(path, 1, start, start + len("16,055"))
        return box

    here, there = mark(copy), mark(original)
    assert here[0] == pytest.approx(there[0], abs=0.01)
    assert here[2] == pytest.approx(there[2], abs=0.01)
    assert (here[1] + here[3]) / 2 == pytest.approx((there[1] + there[3]) / 2, abs=0.01)


def test_the_report_and_the_record_say_what_ocr_read_and_the_passages_too(scan: Path, config: IngestConfig) -> None:
    [added] = ingest([str(scan)], config).added
    assert any(notice.startswith(f"1 page was read by OCR ({config.ocr}") for notice in added.notices)
    document = stored(config)
    assert list(document.ocr_pages) == [1] and document.ocr_pages[1] > 0.8
    assert document.scanned_pages == ()
    library = open_store(config, create=False)
    assert all(chunk.ocr for chunk, _ in library.scan(document.id))
    library.close()
    assert not (config.home / FOLDER).exists() or not list((config.home / FOLDER).iterdir())
    assert [path.suffix for path in (config.home / "files").glob("*.[!s]*")] == [".pdf"]  # no temporary copy is left
    assert ingest([str(scan)], config).unchanged == ["scan.pdf"]


def test_pages_that_stayed_unread_are_read_once_an_engine_is_there(tmp_path: Path, config: IngestConfig) -> None:
    path = mixed(tmp_path / "mixed.pdf")
    without = replace(config, ocr="off")
    [added] = ingest([str(path)], without).added
    assert any("cannot be searched: 2" in notice for notice in added.notices)
    assert any("install Tesseract" in notice for notice in added.notices)
    assert stored(config).scanned_pages == (2,)
    assert ingest([str(path)], without).unchanged == ["mixed.pdf"]
    [replaced] = ingest([str(path)], config).replaced
    assert replaced.pages == 3
    assert list(stored(config).ocr_pages) == [2]
    assert ingest([str(path)], config).unchanged == ["mixed.pdf"]


def test_reocr_reads_a_stored_scan_again_without_its_file(scan: Path, config: IngestConfig) -> None:
    ingest([str(scan)], config)
    before = stored(config)
    scan.unlink()
    report = reocr(config, [before])
    assert [entry.document for entry in report.replaced] == ["scan.pdf"]
    after = stored(config)
    assert (after.sha256, after.size_bytes, after.chunks) == (before.sha256, before.size_bytes, before.chunks)
    copy = PdfStore(config.home).path(after.stored_pdf)
    assert copy is not None
    assert read_pdf(copy).pages[0].text.splitlines() == [line.replace("|", " ") for line in scans.SALES]
    with pytest.raises(IngestError, match="no OCR engine"):
        reocr(replace(config, ocr="off"), [after])


def test_a_library_without_ocr_keeps_its_copy_beside_that_of_another_with_it(
    tmp_path: Path, config: IngestConfig
) -> None:
    path = mixed(tmp_path / "mixed.pdf")
    plain = replace(config, library="plain", ocr="off")
    ingest([str(path)], config)
    ingest([str(path)], plain)
    keys = {stored(one).stored_pdf for one in (config, plain)}
    assert len(keys) == 2
    assert all(PdfStore(config.home).path(key) for key in keys)


def test_a_scan_without_any_text_fails_and_says_that_ocr_found_none(tmp_path: Path, config: IngestConfig) -> None:
    empty = scans.scan(tmp_path / "empty.pdf", Image.new("L", (600, 800), 250))
    with pytest.raises(NoTextInPDF, match="OCR found no text"):
        parsed(empty, config)


def test_without_an_engine_the_error_names_both_remedies(scan: Path, config: IngestConfig) -> None:
    with pytest.raises(NoTextInPDF, match=r"\[ocr\].*install Tesseract"):
        parsed(scan, replace(config, ocr="off"))


def test_a_page_that_takes_too_long_is_given_up_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "tesseract"
    program.parent.mkdir()
    header = "level\\tpage_num\\tblock_num\\tpar_num\\tline_num\\tword_num\\tleft\\ttop\\twidth\\theight\\tconf\\ttext"
    word = "5\\t1\\t1\\t1\\t1\\t1\\t100\\t100\\t200\\t30\\t96\\tSales"
    program.write_text(
        '#!/bin/sh\ncase "$1" in --version) echo "tesseract 9.9"; exit;; --list-langs) echo L; echo eng; exit;; esac\n'
        f'n=$(wc -c | tr -d " ")\n'
        f'if [ "$n" -gt 2000000 ]; then exec sleep 60; fi\nprintf "{header}\\n{word}\\n"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    wide, narrow = Image.new("L", (1240, 1754), 255), Image.new("L", (400, 1754), 255)
    for one in (wide, narrow):
        one.paste(0, (50, 50, 300, 60))
    path = scans.scan(tmp_path / "two.pdf", wide, narrow)
    config = IngestConfig(home=tmp_path / "home", ocr="tesseract", ocr_page_seconds=2)
    pdf = parsed(path, config).pdf
    assert [page.text for page in pdf.pages] == ["", "Sales"]
    assert pdf.notices == ("Page 1 could not be read by OCR: Tesseract took longer than 2 s.",)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_scan_whose_ingest_is_killed_goes_on_where_it_was(tmp_path: Path, installed: str) -> None:
    from fpdf import FPDF

    pdf: FPDF = pdfs.document(*(f"Invoice {n}. " + pdfs.SENTENCE * 3 for n in range(1, 7)), size=14)
    path = scans.scanned(tmp_path / "six.pdf", pdf)
    home = tmp_path / "home"
    command = [sys.executable, "-m", "quire", "ingest", str(path), "--ocr", installed, "--jobs", "1"]
    environment = {**os.environ, "QUIRE_HOME": str(home), "PYTHONPATH": str(ROOT)}

    def read() -> list[int]:
        lines = [line for file in (home / FOLDER).glob("*.jsonl") for line in file.read_text().splitlines(True)]
        return [json.loads(line)["page"] for line in lines if line.endswith("\n")]

    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    _wait_for(lambda: len(read()) >= 2)
    first.kill()
    _, errors = first.communicate()
    assert first.returncode == -signal.SIGKILL
    assert b"six.pdf: 6 pages to read by OCR, about" in errors
    _wait_for(lambda: not _parsers(path))  # its parser process ends once it notices
    done = len(read())
    assert 2 <= done < 6
    second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert second.returncode == 0, second.stderr
    assert f"{6 - done} page" in second.stderr and f"({done} were read before)" in second.stderr
    assert "6 pages were read by OCR" in second.stdout
    document = stored(IngestConfig(home=home))
    assert list(document.ocr_pages) == [1, 2, 3, 4, 5, 6]


def _wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def _parsers(path: Path) -> list[str]:
    """Parser processes that a dead parent left behind and that work in this test's folder."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(path.parent).encode() in environ.read_bytes() and environ.parent.name != str(os.getpid()):
                found.append(environ.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit of memory needs Linux")
def test_a_page_whose_picture_unfolds_to_more_than_the_memory_costs_only_itself(tmp_path: Path) -> None:
    if not tesseract.is_installed():
        pytest.skip("tesseract is not installed")
    path = scans.bomb(tmp_path / "bomb.pdf", side=25_000)
    assert path.stat().st_size < 1_000_000
    config = IngestConfig(home=tmp_path / "home", ocr="tesseract", parse_memory_mb=256, ocr_memory_mb=256)
    pages = parsed(path, config).pdf.pages
    assert pages[0].text == ""
    assert pages[1].text.splitlines() == [line.replace("|", " ") for line in scans.SALES]


@pytest.mark.parametrize(("width", "height", "points"), [(16, 16, 3.84), (64, 4, 300), (3, 3, 100)])
def test_a_picture_too_small_for_a_line_of_text_is_named_and_not_read(
    tmp_path: Path, config: IngestConfig, width: int, height: int, points: float
) -> None:
    Image.new("L", (width, height), 40).save(tmp_path / "icon.pdf", resolution=72 * width / points)
    with pytest.raises(NoTextInPDF, match="found no text") as error:
        parsed(tmp_path / "icon.pdf", config)
    assert error.value.hint == "Page 1 could not be read by OCR: what it shows is too small for a line of text."

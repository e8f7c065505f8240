"""Titles worth showing, and files whose words about themselves are broken."""

from pathlib import Path

import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DictionaryObject, NameObject, NumberObject

from ingest.pdf.pypdf import clean_title, read_metadata
from tests.ingest import pdfs


@pytest.mark.parametrize(
    "title",
    [
        "0001558370-21-001234", "0000764478-23-000006", "Microsoft Word - report.doc", "untitled", "Untitled-1",
        "12345", "d41d8cd98f00b204e9800998ecf8427e", "report_final.indd", "", "  \x00 ", "---", "C:\\tmp\\x",
    ],
)  # fmt: skip
def test_a_meaningless_title_is_none(title: str) -> None:
    assert clean_title(title) == ""


@pytest.mark.parametrize("title", ["10-K - 02/07/2019 - 3M Company", "ADBE 10K FY16 - FINAL", "1984", "Titled works"])
def test_a_title_with_words_is_kept(title: str) -> None:
    assert clean_title(title) == ("" if title == "1984" else title)


def test_a_title_is_one_line() -> None:
    assert clean_title("Annual\r\nReport\x00 2020 ") == "Annual Report 2020"


def test_broken_labels_and_attachments_cost_nothing_else(tmp_path: Path) -> None:
    writer = PdfWriter(clone_from=PdfReader(pdfs.report(tmp_path / "report.pdf")))
    writer.root_object[NameObject("/PageLabels")] = DictionaryObject({NameObject("/Nums"): NumberObject(3)})
    writer.root_object[NameObject("/Names")] = NumberObject(3)
    path = tmp_path / "broken.pdf"
    writer.write(path)
    about = read_metadata(path, None)
    assert about.title == "Annual Report of Acme"
    assert len(about.outline) == 6
    assert about.labels == ("1", "2", "3", "4", "5", "6")
    assert about.attachments == ()


def test_a_file_that_pypdf_cannot_open_says_so_in_a_notice(tmp_path: Path) -> None:
    path = tmp_path / "none.pdf"
    path.write_bytes(b"%PDF-1.7 and nothing else")
    [notice] = read_metadata(path, None).notices
    assert notice.startswith("Title, outline and page labels could not be read (Pdf")

"""Reading real files of every awkward kind."""

import random
from pathlib import Path

import pypdfium2
import pytest

from ingest.errors import NoTextInPDF, ParserLimit, PasswordRequired, UnreadablePDF
from ingest.pdf import read as reading
from ingest.pdf.read import PDF, read_pdf
from ingest.pdf.render import page_rectangles
from tests.ingest import pdfs


@pytest.fixture(scope="module")
def read_report(report: Path) -> PDF:
    return read_pdf(report)


def test_pages_hold_their_own_text_in_order(read_report: PDF) -> None:
    assert [page.number for page in read_report.pages] == [1, 2, 3, 4, 5, 6]
    assert all(f"fact number {page.number}," in page.text for page in read_report.pages)
    assert not any("\r" in page.text for page in read_report.pages)
    assert read_report.parser == f"pypdfium2 {pypdfium2.version.PYPDFIUM_INFO.version}"
    assert not read_report.encrypted


def test_metadata_outline_labels_and_attachments_are_those_of_the_file(read_report: PDF) -> None:
    assert read_report.title == "Annual Report of Acme"
    assert [page.label for page in read_report.pages] == ["i", "ii", "1", "2", "3", "4"]
    assert read_report.outline == tuple((0, f"Section {n}", n) for n in range(1, 7))
    assert read_report.attachments == ("figures.csv",)
    assert read_report.notices == ("Attached files are not read: figures.csv.",)


def test_headings_are_the_outline_titles_then_the_lines_in_larger_type(read_report: PDF) -> None:
    assert read_report.pages[1].headings == ("Section 2", "Chapter about topic B")


def test_running_headers_and_footers_are_marked_and_nothing_else(read_report: PDF) -> None:
    for page in read_report.pages:
        marked = [page.text[a:b] for a, b in page.running_lines]
        assert marked == ["ACME Corporation | Annual Report 2020", f"Page {page.number} of 6"]


def test_a_file_of_two_pages_has_no_running_lines(folder: Path) -> None:
    source = read_pdf(pdfs.saved(pdfs.document("Same line.\nOne.", "Same line.\nTwo."), folder / "two.pdf"))
    assert [page.running_lines for page in source.pages] == [(), ()]


def test_values_of_form_fields_are_read(folder: Path) -> None:
    path = pdfs.form(folder / "form.pdf")
    text = read_pdf(path).pages[0].text
    assert "Name of applicant:" in text and "Grace Hopper" in text
    start = text.index("Grace")
    assert len(page_rectangles(path, 1, start, start + 12)) == 1


def test_scanned_and_blank_pages_are_distinguished(folder: Path) -> None:
    made = pdfs.document("Words.")
    pdfs.picture_page(made, folder / "picture")
    made.add_page()
    source = read_pdf(pdfs.saved(made, folder / "mixed.pdf"))
    assert [page.kind for page in source.pages] == ["text", "scanned", "blank"]


def test_a_document_of_images_is_refused_with_a_hint(folder: Path) -> None:
    made = pdfs.document()
    pdfs.picture_page(made, folder / "scan")
    path = pdfs.saved(made, folder / "scan.pdf")
    with pytest.raises(NoTextInPDF, match=r"no text in 1 page \(1 with images\).*OCR"):
        read_pdf(path)


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-128", "AES-256"])
def test_an_encrypted_file_says_which_password_is_missing_and_opens_with_the_right_one(
    folder: Path, algorithm: str
) -> None:
    path = pdfs.encrypted(folder / f"user-{algorithm}.pdf", user="right", owner="boss", algorithm=algorithm)
    with pytest.raises(PasswordRequired, match=r"needs a password.*--password"):
        read_pdf(path)
    with pytest.raises(PasswordRequired, match=r"the password given is wrong.*--password"):
        read_pdf(path, password="wrong")
    for password in ("right", "boss"):
        source = read_pdf(path, password=password)
        assert source.pages[0].text == "Secret words in here."
        assert source.encrypted


def test_a_file_with_an_owners_password_alone_opens_without_one(folder: Path) -> None:
    path = pdfs.encrypted(folder / "owner.pdf", user="", owner="boss")
    assert read_pdf(path).pages[0].text == "Secret words in here."
    assert not read_pdf(path).encrypted
    assert not read_pdf(path, password="not needed").encrypted


def test_a_file_of_another_kind_is_named(folder: Path) -> None:
    for content, message in [
        (b"", r"is empty \(0 bytes\).*again"),
        (b"<!DOCTYPE html><html><body>404</body></html>", r"not a PDF but a web page.*give the PDF itself"),
        (b"PK\x03\x04" + b"x" * 50, "not a PDF but a ZIP archive"),
        (b"just some words", "is not a PDF: it does not start with %PDF-.*give the PDF itself"),
        (b"%PDF-1.7 just some words", "damaged or not a PDF.*open it in a viewer"),
    ]:
        path = folder / "other.pdf"
        path.write_bytes(content)
        with pytest.raises(UnreadablePDF, match=message):
            read_pdf(path)
    with pytest.raises(UnreadablePDF, match="not a regular file"):
        read_pdf(folder)
    with pytest.raises(UnreadablePDF, match=r"does not exist.*check the path"):
        read_pdf(folder / "absent.pdf")


def test_a_file_cut_in_half_is_refused_or_read_but_never_crashes(report: Path, folder: Path) -> None:
    data = report.read_bytes()
    path = folder / "half.pdf"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadablePDF, match=r"half\.pdf"):
        read_pdf(path)


@pytest.mark.parametrize("seed", range(8))
def test_400_flipped_bytes_give_pages_or_a_clear_error(report: Path, folder: Path, seed: int) -> None:
    data = bytearray(report.read_bytes())
    chance = random.Random(seed)
    for _ in range(400):
        data[chance.randrange(8, len(data))] ^= 1 << chance.randrange(8)
    path = folder / f"flipped{seed}.pdf"
    path.write_bytes(data)
    try:
        assert read_pdf(path).pages
    except UnreadablePDF as exc:
        assert path.name in exc.message and exc.hint


def test_pypdf_reads_what_pdfium_refuses(folder: Path) -> None:
    # The trailer does not say where the catalogue is: PDFium gives up, pypdf searches for it.
    path = pdfs.saved(pdfs.document("Words that both could read."), folder / "rootless.pdf")
    data = path.read_bytes()
    assert data.count(b"/Root") == 1
    path.write_bytes(data.replace(b"/Root", b"/Roo_"))
    with pytest.raises(pypdfium2.PdfiumError):
        pypdfium2.PdfDocument(path)
    source = read_pdf(path)
    assert source.parser.startswith("pypdf ")
    assert source.pages[0].text.strip() == "Words that both could read."
    assert "cannot be highlighted" in source.notices[-1]
    assert page_rectangles(path, 1, 0, 5) == []


def test_a_damaged_page_costs_itself_and_is_named(folder: Path) -> None:
    path = pdfs.saved(pdfs.document("First.", "Second.", "Third."), folder / "page.pdf")
    pages = path.read_bytes().split(b"/Type /Page\n")
    assert len(pages) == 4
    path.write_bytes(b"/Type /Page\n".join(pages[:2]) + b"/Type /Pzge\n" + b"/Type /Page\n".join(pages[2:]))
    source = read_pdf(path)
    assert [page.text for page in source.pages] == ["First.", "", "Third."]
    assert source.notices == ("Page 2 is damaged and could not be read.",)


def test_too_many_pages_are_refused_before_they_are_read(report: Path) -> None:
    with pytest.raises(ParserLimit, match=r"has 6 pages, over the limit of 5.*parse_pages"):
        read_pdf(report, max_pages=5)


def test_too_many_characters_are_refused(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MAX_CHARACTERS", 1000)
    with pytest.raises(ParserLimit, match="over 1,000 characters"):
        read_pdf(report)

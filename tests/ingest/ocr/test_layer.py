"""The invisible text: read back verbatim, at its place, in any script, on turned and tilted pages; removed without a trace."""

import math
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image

from ingest.ocr.layer import draw, remove_layer, write_layer
from ingest.ocr.page import PageText
from ingest.ocr.words import Word
from ingest.pdf import pdfium
from ingest.pdf.read import read_pdf
from ingest.pdf.render import page_rectangles
from tests.ingest import pdfs, scans


def row(top: float, *words: tuple[str, float, float]) -> tuple[Word, ...]:
    return tuple(Word(text, left, top, right, top + 0.02, 1.0) for text, left, right in words)


TABLE = (
    row(0.10, ("Net", 0.1, 0.14), ("sales", 0.15, 0.2), ("32,765", 0.6, 0.67), ("31,657", 0.8, 0.87)),
    row(0.13, ("Cost", 0.1, 0.15), ("16,682", 0.6, 0.67), ("16,055", 0.8, 0.87)),
)


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    return scans.scan(tmp_path / "scan.pdf", Image.new("L", (1240, 1754), 255))


def layered(source: Path, text: PageText, **more: object) -> Path:
    target = source.with_suffix(".ocr")
    write_layer(source, None, {1: text}, target, **more)
    return target


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("tilt", [0.0, 1.5, -3.0])
def test_rows_are_read_back_as_lines_and_each_word_is_where_it_was(blank: Path, turn: int, tilt: float) -> None:
    target = layered(blank, PageText(TABLE, turn, tilt, 0.9))
    text = read_pdf(target).pages[0].text
    assert text == "Net sales 32,765 31,657\nCost 16,682 16,055"
    for line in TABLE:
        for word in line:
            start = text.index(word.text)
            [box] = page_rectangles(target, 1, start, start + len(word.text))
            assert box == pytest.approx((word.left, word.top, word.right, word.bottom), abs=0.001)


@pytest.mark.parametrize("text", ["Größe", "Čapek", "Ελλάδα", "Привет", "東京都", "₪€£", "a—b"])
def test_words_of_any_script_are_kept(blank: Path, text: str) -> None:
    assert read_pdf(layered(blank, PageText((row(0.1, (text, 0.1, 0.3)),)))).pages[0].text == text


def test_the_layer_cannot_be_seen(blank: Path) -> None:
    target = layered(blank, PageText(TABLE))
    with pdfium.opened(target, None) as document:
        assert draw(document, 0, dpi=100, shortest=1, longest=2000).min() > 250


@pytest.mark.parametrize(("turn", "tilt"), [(90, 0.0), (180, 0.0), (0, 2.0), (270, -1.0)])
def test_a_turned_page_is_set_upright_with_its_picture(tmp_path: Path, turn: int, tilt: float) -> None:
    upright = Image.new("L", (1240, 1754), 255)
    upright.paste(0, (300, 400, 420, 430))  # a word of ink
    crooked = upright.rotate(-tilt, fillcolor=255).rotate(turn, expand=True)
    source = scans.scan(tmp_path / "scan.pdf", crooked)
    word = Word("ink", 300 / 1240, 400 / 1754, 420 / 1240, 430 / 1754, 1.0)
    target = layered(source, PageText(((word,),), turn, tilt, 0.9))
    with pdfium.opened(target, None) as document:
        drawn = draw(document, 0, dpi=150, shortest=1, longest=2000)
    height, width = drawn.shape
    assert width == pytest.approx(1240, abs=2)
    [box] = page_rectangles(target, 1, 0, 3)
    inside = drawn[
        math.ceil(box[1] * height) + 4 : int(box[3] * height) - 4, int(box[0] * width) + 4 : int(box[2] * width) - 4
    ]
    assert inside.max() < 100
    assert (drawn < 128).sum() == pytest.approx(120 * 30, rel=0.1)


def test_a_stamp_that_is_text_is_not_there_twice(tmp_path: Path) -> None:
    source = pdfs.drawn(tmp_path / "stamped.pdf", b"BT /F1 12 Tf 59.5 800 Td (RECEIVED) Tj ET")
    stamp = Word("RECEIVED", 0.1, (842 - 812) / 842, 0.2, (842 - 797) / 842, 1.0)
    target = layered(source, PageText(((stamp,), *TABLE)))
    assert read_pdf(target).pages[0].text == "RECEIVED\nNet sales 32,765 31,657\nCost 16,682 16,055"


def test_a_page_whose_letters_cannot_be_decoded_becomes_its_picture(tmp_path: Path) -> None:
    source = pdfs.drawn(tmp_path / "garbled.pdf", b"BT /F1 12 Tf 59.5 750 Td (q7#xx kk) Tj ET")
    target = layered(source, PageText(TABLE), as_pictures=[1])
    assert read_pdf(target).pages[0].text == "Net sales 32,765 31,657\nCost 16,682 16,055"
    for path in (source, target):
        with pypdfium2.PdfDocument(path) as document:
            dark = (document[0].render(scale=1, grayscale=True).to_numpy() < 128).sum()
        assert dark > 50


def test_the_copy_of_an_encrypted_document_needs_no_password_and_is_its_owners_only(tmp_path: Path) -> None:
    source = pdfs.encrypted(tmp_path / "locked.pdf", user="right", owner=None)
    target = tmp_path / "open.pdf"
    write_layer(source, "right", {1: PageText(TABLE)}, target)
    assert "32,765" in read_pdf(target).pages[0].text
    assert target.stat().st_mode & 0o077 == 0


def test_a_removed_layer_leaves_the_other_text_and_can_be_written_again(tmp_path: Path) -> None:
    source = pdfs.drawn(tmp_path / "stamped.pdf", b"BT /F1 12 Tf 59.5 800 Td (RECEIVED) Tj ET")
    target, plain = layered(source, PageText(TABLE)), tmp_path / "plain.pdf"
    remove_layer(target, plain)
    assert read_pdf(plain).pages[0].text == "RECEIVED"
    again = layered(plain, PageText(TABLE[:1]))
    assert read_pdf(again).pages[0].text == "RECEIVED\nNet sales 32,765 31,657"


def test_a_page_of_any_size_is_drawn_within_bounds(tmp_path: Path) -> None:
    from pypdf import PdfWriter

    writer = PdfWriter()
    for side in (14_000, 3):
        writer.add_blank_page(side, side)
    writer.write(tmp_path / "sizes.pdf")
    with pdfium.opened(tmp_path / "sizes.pdf", None) as document:
        shapes = [draw(document, index, dpi=150, shortest=1280, longest=2600).shape for index in range(2)]
    assert shapes == [(2600, 2600), (1280, 1280)]

"""The cited page as an image: marks at their exact place, also on rotated pages and in columns."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pypdf
import pytest
from fpdf import FPDF
from PIL import Image

from ingest.errors import UnreadablePDF
from ingest.pdf.read import read_pdf
from streamlit_app.marked_page import marked_page
from tests.documents import write_pdf

SENTENCES = "The first line stands here.\nThe second line follows it.\nThe third line is last."


def picture(png: bytes) -> np.ndarray:
    """Return red minus blue of each pixel: 0 on white and black, positive where it is marked."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)
    return pixels[:, :, 0] - pixels[:, :, 2]


def ink(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"), dtype=int) < 128


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.where(mask.any(axis=1))[0], np.where(mask.any(axis=0))[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def find(path: Path, sentence: str) -> tuple[int, int]:
    text = read_pdf(path).pages[0].text
    start = text.index(sentence)
    return start, start + len(sentence)


def test_without_ranges_nothing_is_marked(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", [SENTENCES])
    assert picture(marked_page(path, 1, passage=None, quote=None, scale=1)).max() == 0


def test_the_quote_is_stronger_than_the_passage_and_each_covers_its_lines(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", [SENTENCES])
    start, _ = find(path, "The first line")
    _, end = find(path, "is last.")
    quote = find(path, "The second line follows it.")
    tint = picture(marked_page(path, 1, passage=(start, end), quote=quote, scale=2))
    assert 30 < int(np.median(tint[(tint > 0) & (tint < 90)])) < 70 and (tint > 90).sum() > 500
    weak, strong = box(tint > 30), box(tint > 90)
    assert weak[1] < strong[1] < strong[3] < weak[3], "the quote is the line in the middle"
    words = ink(marked_page(path, 1, passage=None, quote=None, scale=2))
    left, top, right, bottom = box(words)
    assert weak[0] <= left and weak[1] <= top and weak[2] >= right and weak[3] >= bottom


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_marks_cover_the_words_of_a_rotated_page(tmp_path: Path, turn: int) -> None:
    write_pdf(tmp_path / "a.pdf", ["One line only stands on this page."])
    writer = pypdf.PdfWriter(tmp_path / "a.pdf")
    writer.pages[0].rotate(turn)
    path = tmp_path / "turned.pdf"
    writer.write(path)
    writer.close()
    quote = find(path, "One line only stands on this page.")
    tint = picture(marked_page(path, 1, passage=None, quote=quote, scale=2)) > 0
    words = ink(marked_page(path, 1, passage=None, quote=None, scale=2))
    marked, written = box(tint), box(words)
    assert all(abs(a - b) < 14 for a, b in zip(marked, written, strict=True)), (marked, written)


def test_in_two_columns_only_the_column_of_the_quote_is_marked(tmp_path: Path) -> None:
    pdf = FPDF(format="A4")
    pdf.add_page()
    pdf.set_font("Helvetica", size=11)
    left = "In the left column there are words about whales and their songs in the deep sea. " * 5
    right = "In the right column there are words about bridges and their towers of red steel. " * 5
    pdf.set_xy(15, 20)
    pdf.multi_cell(80, 6, left)
    pdf.set_xy(115, 20)
    pdf.multi_cell(80, 6, right)
    path = tmp_path / "columns.pdf"
    pdf.output(str(path))
    text = read_pdf(path).pages[0].text
    start = text.index("bridges")
    tint = picture(marked_page(path, 1, passage=None, quote=(start, start + len("bridges and their")), scale=2)) > 0
    marked = box(tint)
    assert marked[0] > tint.shape[1] / 2, "all of it is in the right half"
    assert marked[3] - marked[1] < 90


def test_scale_is_pixels_per_point(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", [SENTENCES])
    small = Image.open(io.BytesIO(marked_page(path, 1, passage=None, quote=None, scale=1))).size
    large = Image.open(io.BytesIO(marked_page(path, 1, passage=None, quote=None, scale=3))).size
    assert (round(large[0] / small[0]), round(large[1] / small[1])) == (3, 3)


def test_a_missing_page_is_an_error_with_the_number_of_pages(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", [SENTENCES])
    with pytest.raises(UnreadablePDF, match="it has 1"):
        marked_page(path, 9, passage=None, quote=None, scale=1)

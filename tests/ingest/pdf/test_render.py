"""Pages as images, and where their text is."""

import random
from pathlib import Path

import pypdfium2
import pytest
from pypdf import PdfReader, PdfWriter

from ingest.errors import UnreadablePDF
from ingest.pdf.read import read_pdf
from ingest.pdf.render import page_rectangles, render_page
from tests.ingest import pdfs


def letters_on(path: Path, *, columns: int) -> list[tuple[str, float, float]]:
    """Every letter of page 1 in reading order, and its middle in fractions of the page as shown, turned by hand.

    PDFium reads the lines of a page that is turned by a quarter from the last one to the first.
    """
    document = pypdfium2.PdfDocument(path)
    page = document[0]
    text_page = page.get_textpage()
    x0, y0, x1, y1 = map(float, PdfReader(path).pages[0].cropbox)
    width, height = x1 - x0, y1 - y0
    found = []
    for index in range(text_page.count_chars()):
        letter = text_page.get_text_range(index, 1)
        left, bottom, right, top = text_page.get_charbox(index)
        if letter.strip():
            x, y = ((left + right) / 2 - x0) / width, ((bottom + top) / 2 - y0) / height
            u, v = {0: (x, 1 - y), 90: (y, x), 180: (1 - x, y), 270: (1 - y, 1 - x)}[page.get_rotation()]
            column = int(left > x0 + width / 2) if columns == 2 else 0
            base = text_page.get_charbox(index, loose=True)[1]
            found.append(((column, -round(base), left), (letter, u, v)))
    for item in (text_page, page, document):
        item.close()
    return [letter for _, letter in sorted(found)]


PAGES = {
    "upright": lambda path: pdfs.turned(path, rotation=0),
    "quarter": lambda path: pdfs.turned(path, rotation=90),
    "half": lambda path: pdfs.turned(path, rotation=180),
    "three quarters": lambda path: pdfs.turned(path, rotation=270),
    "cropped": lambda path: pdfs.turned(path, rotation=0, crop=(20, 500, 590, 830)),
    "cropped and turned": lambda path: pdfs.turned(path, rotation=90, crop=(20, 500, 590, 830)),
    "two columns": pdfs.two_columns,
}


@pytest.mark.parametrize("kind", PAGES)
def test_the_rectangles_of_a_range_hold_exactly_its_words(kind: str, folder: Path) -> None:
    path = PAGES[kind](folder / f"{kind}.pdf")
    text = read_pdf(path).pages[0].text
    starts = [i for i in range(len(text)) if not text[i].isspace() and (i == 0 or text[i - 1].isspace())]
    ends = [i for i in range(1, len(text) + 1) if not text[i - 1].isspace() and text[i : i + 1].strip() == ""]
    letters = letters_on(path, columns=2 if kind == "two columns" else 1)
    assert "".join(letter for letter, _, _ in letters) == "".join(text.split())
    chance = random.Random(5)
    for _ in range(25):
        first = chance.randrange(len(starts))
        last = min(len(ends) - 1, first + chance.randrange(30))
        start, end = starts[first], ends[last]
        rectangles = page_rectangles(path, 1, start, end)
        assert len(rectangles) == 1 + text.count("\n", start, end)
        assert all(0 <= a < c <= 1 and 0 <= b < d <= 1 for a, b, c, d in rectangles)
        within = [x for x, u, v in letters if any(a < u < c and b < v < d for a, b, c, d in rectangles)]
        assert "".join(within) == "".join(text[start:end].split())


def test_a_range_off_the_text_has_no_rectangles(report: Path) -> None:
    assert page_rectangles(report, 1, 10_000, 10_010) == []
    assert page_rectangles(report, 1, 5, 5) == []


def test_a_rendered_page_is_a_png_of_the_size_asked_for(report: Path) -> None:
    from io import BytesIO

    from PIL import Image

    picture = Image.open(BytesIO(render_page(report, 1, scale=1.5)))
    picture.load()
    assert picture.format == "PNG" and picture.mode == "RGB"
    assert picture.size == (893, 1263)  # A4, 595.28 x 841.89 points
    left, top, right, bottom = page_rectangles(report, 1, 0, 4)[0]
    box = [round(v * s) for v, s in zip((left, top, right, bottom), picture.size * 2, strict=True)]
    assert picture.getpixel((2, 2)) == (255, 255, 255)
    assert picture.crop(tuple(box)).convert("L").getextrema()[0] < 100, "letters are where the rectangle says"


def test_a_page_declared_huge_is_rendered_small(folder: Path) -> None:
    writer = PdfWriter(clone_from=PdfReader(pdfs.saved(pdfs.document("Big."), folder / "small.pdf")))
    writer.pages[0].mediabox.upper_right = (14_400, 14_400)
    path = folder / "huge.pdf"
    writer.write(path)
    picture = render_page(path, 1, scale=4)
    width, height = (int.from_bytes(picture[i : i + 4]) for i in (16, 20))
    assert 30_000_000 < width * height <= 41_000_000


def test_a_page_that_is_not_there_is_named(report: Path) -> None:
    with pytest.raises(UnreadablePDF, match=r"no page 7.*it has 6"):
        render_page(report, 7)

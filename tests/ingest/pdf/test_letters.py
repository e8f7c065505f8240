"""Characters are looked up without ctypes' checks, and are those that the checked calls give."""

import ctypes

import pypdfium2
import pypdfium2.raw as pdfium
import pytest

from ingest.pdf.letters import Letters
from ingest.pdf.read import read_pdf
from ingest.pdf.render import page_rectangles
from tests.ingest import pdfs


@pytest.fixture
def text(tmp_path):
    pdf = pdfs.document("Plain words, 12 of them.")
    pdf.set_font("Helvetica", style="B", size=17)
    with pdf.rotation(90, 100, 100):
        pdf.text(100, 100, "Bold words up the page")
    with pypdfium2.PdfDocument(pdfs.saved(pdf, tmp_path / "a.pdf")) as document:
        yield document[0].get_textpage()


def test_each_character_has_the_size_place_and_matrix_that_pdfium_gives_checked(text):
    letters = Letters(text)
    assert letters.raw == text.get_text_range()
    matrix = pdfium.FS_MATRIX()
    numbers = [ctypes.c_double() for _ in range(4)]
    for at in range(len(letters.raw)):
        assert letters.size(at) == pdfium.FPDFText_GetFontSize(text, at)
        assert pdfium.FPDFText_GetMatrix(text, at, matrix)
        assert letters.matrix(at) == (matrix.a, matrix.b, matrix.c, matrix.d)
        assert pdfium.FPDFText_GetCharBox(text, at, *numbers)
        assert letters.box(at) == tuple(number.value for number in numbers)
        assert pdfium.FPDFText_GetCharOrigin(text, at, *numbers[:2])
        assert letters.origin(at) == (numbers[0].value, numbers[1].value)


def test_only_the_letters_of_a_bold_font_are_bold(text):
    letters = Letters(text)
    bold = "".join(c for at, c in enumerate(letters.raw) if letters.is_bold(at))
    assert bold.split() == ["Bold", "words", "up", "the", "page"]


def test_a_position_outside_the_text_has_no_place(text):
    letters = Letters(text)
    assert letters.origin(len(letters.raw)) is None
    assert letters.box(-1) is None
    assert not letters.is_bold(-1)


def bold_mathematical(path, line):
    """One line whose capitals are drawn by a font that calls them U+1D400 and so on."""
    table = "\n".join(f"<{code:02x}> <d835{0xDC00 + code - 65:04x}>" for code in range(65, 91))
    table += "\n" + "\n".join(f"<{code:02x}> <{code:04x}>" for code in (32, *range(97, 123)))
    unicode_map = pdfs.Own(
        f"begincmap 1 begincodespacerange <00> <ff> endcodespacerange\n{table.count('<') // 2} beginbfchar\n{table}\n"
        "endbfchar endcmap".encode()
    )
    font = {"Type": "/Font", "Subtype": "/Type1", "BaseFont": "/Courier", "ToUnicode": unicode_map}
    return pdfs.drawn(path, f"BT /T 10 Tf 60 700 Td ({line}) Tj ET".encode(), resources={"Font": {"T": font}})


def test_letters_beyond_the_first_plane_do_not_shift_the_places_of_those_behind_them(tmp_path):
    path = bold_mathematical(tmp_path / "a.pdf", "AAAAAAAAAA stop")
    text = read_pdf(path).pages[0].text
    assert text == "\U0001d400" * 10 + " stop"
    ((left, _, right, _),) = page_rectangles(path, 1, text.index("stop"), len(text))
    assert (left * 595, right * 595) == pytest.approx(
        (60 + 11 * 6, 60 + 15 * 6), abs=1.5
    )  # Courier of 10 points: 6 each


@pytest.mark.parametrize(
    ("glyphs", "word"),  # from the left, as they are drawn
    [("CAB", "سلام"), ("BA", "لاس"), ("AC", "ملا"), ("D", "حبيبي")],
)
def test_letters_of_one_arabic_glyph_are_in_the_order_of_speech(tmp_path, glyphs, word):
    table = {"A": "لا", "B": "س", "C": "م", "D": "حبيبي"}
    lines = [f"<{ord(code):02x}> <{letters.encode('utf-16-be').hex()}>" for code, letters in table.items()]
    unicode_map = pdfs.Own(
        f"begincmap 1 begincodespacerange <00> <ff> endcodespacerange\n{len(lines)} beginbfchar\n".encode()
        + "\n".join(lines).encode()
        + b"\nendbfchar endcmap"
    )
    font = {"Type": "/Font", "Subtype": "/Type1", "BaseFont": "/Courier", "ToUnicode": unicode_map}
    content = f"BT /T 10 Tf 60 700 Td ({glyphs}) Tj ET".encode()
    path = pdfs.drawn(tmp_path / "a.pdf", content, resources={"Font": {"T": font}})
    assert read_pdf(path).pages[0].text == word

"""Characters are looked up without ctypes' checks, and are those that the checked calls give."""

import ctypes

import pypdfium2
import pypdfium2.raw as pdfium
import pytest

from ingest.pdf.letters import Letters
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

"""What annotations show is part of the page's text, as a reader sees it."""

from pathlib import Path
from typing import Any

import pytest

from ingest.pdf.read import read_pdf
from ingest.pdf.render import page_rectangles
from tests.ingest import pdfs

_HELVETICA = {"Type": "/Font", "Subtype": "/Type1", "BaseFont": "/Helvetica", "Encoding": "/WinAnsiEncoding"}


def _typed(text: str, **more: Any) -> dict[str, Any]:
    box = [100, 500, 400, 540]
    return {"Subtype": "/FreeText", "Rect": box, "Contents": text, "DA": "0 g /Helv 11 Tf"} | more


def _field(name: str, value: str, **more: Any) -> dict[str, Any]:
    look = {"FT": "/Tx", "T": name, "V": value, "DA": "/Helv 12 Tf 0 g", "Rect": [100, 600, 400, 620]}
    return {"Subtype": "/Widget"} | look | more


def _form(**more: Any) -> dict[str, Any]:
    return {"AcroForm": {"DR": {"Font": {"Helv": _HELVETICA}}, "DA": "/Helv 0 Tf 0 g"} | more}


def _text(path: Path) -> str:
    return read_pdf(path).pages[0].text


def test_text_typed_onto_a_page_without_a_drawing_is_read_and_has_a_place(folder: Path) -> None:
    path = pdfs.annotated(folder / "typed.pdf", "Monthly rent:", _typed("EUR 1,285 per month\rDeposit EUR 3,900"))
    text = _text(path)
    assert text.startswith("Monthly rent:") and "EUR 1,285 per month\nDeposit EUR 3,900" in text
    start = text.index("EUR 1,285")
    (box,) = page_rectangles(path, 1, start, start + len("EUR 1,285 per month"))
    assert abs(box[0] - 100 / 595) < 0.01 and 1 - 540 / 842 < box[3] < 1 - 500 / 842


def test_a_stamp_is_read_from_its_drawing(folder: Path) -> None:
    drawing = pdfs.form_xobject(b"BT /F1 14 Tf 2 5 Td (RECEIVED 3 MARCH 2026) Tj ET", 300, 20)
    stamp = {"Subtype": "/Stamp", "Rect": [100, 400, 400, 420], "AP": {"N": drawing}}
    assert "RECEIVED 3 MARCH 2026" in _text(pdfs.annotated(folder / "stamp.pdf", "A letter.", stamp))


@pytest.mark.parametrize(
    "field",
    [
        _field("applicant", "Ingrid Halvorsen"),
        _field("reason", "Birth of a child", FT="/Ch", Opt=["Illness", "Birth of a child"], Ff=1 << 17),
        _field("story", "First line\rsecond line", Ff=1 << 12, Rect=[100, 500, 400, 620]),
    ],
    ids=["text", "drop-down", "several lines"],
)
def test_a_form_value_that_no_program_has_drawn_is_read(folder: Path, field: dict[str, Any]) -> None:
    path = pdfs.annotated(folder / f"{field['T']}.pdf", "Application", field, root=_form(NeedAppearances=True))
    for line in str(field["V"]).split("\r"):
        assert line in _text(path)


def test_hidden_notes_and_remarks_in_pop_up_windows_are_not_read(folder: Path) -> None:
    hidden = _typed("Do not show this", F=2)
    remark = {"Subtype": "/Text", "Rect": [10, 10, 30, 30], "Contents": "A remark of the reviewer"}
    assert _text(pdfs.annotated(folder / "hidden.pdf", "Shown.", hidden, remark)) == "Shown."


def test_typed_text_without_letters_of_a_standard_font_is_named(folder: Path) -> None:
    path = pdfs.annotated(folder / "cyrillic.pdf", "Rent:", _typed("двести евро"))
    (notice,) = read_pdf(path).notices
    assert "typed onto page 1 could not be read" in notice

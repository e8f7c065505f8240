"""Raised digits are told from the number or word that they stand behind."""

from pathlib import Path

import pytest

from ingest.pdf.read import read_pdf
from ingest.pdf.render import page_rectangles
from tests.ingest import pdfs


def _marked(before: str, mark: str, after: str = "", *, size: int = 11, raise_by: float = 4, small: float = 7) -> bytes:
    """One line whose mark is smaller and stands above the baseline."""
    return (
        f"BT /F1 {size} Tf 60 700 Td ({before}) Tj /F1 {small} Tf {raise_by} Ts ({mark}) Tj "
        f"/F1 {size} Tf 0 Ts ({after}) Tj ET"
    ).encode()


def _line(path: Path) -> str:
    return read_pdf(path).pages[0].text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (_marked("The dividend is $320", "1", " per share."), "The dividend is $320¹ per share."),
        (_marked("Founded in 1987", "12", " by three captains."), "Founded in 1987¹² by three captains."),
        (
            _marked("The area is 40 m", "2", ", the volume unknown.", size=20, small=12, raise_by=8),
            "The area is 40 m², the volume unknown.",
        ),
        (_marked("About 10", "6", " cells"), "About 10⁶ cells"),
        (_marked("revenue \\(net", "3", "\\) grew"), "revenue (net³) grew"),
        (_marked("", "4", "Subject to approval"), "⁴Subject to approval"),
        (_marked("Total ", "1", "4,567 crowns"), "Total ¹4,567 crowns"),
        (_marked("Costs 99", "1", " each", size=24, small=14, raise_by=9), "Costs 99¹ each"),
        (_marked("Costs 99", "1", " each", size=7, small=4.5, raise_by=2.5), "Costs 99¹ each"),
        (_marked("The dividend is $320", "1,2", " per share."), "The dividend is $320¹,² per share."),
        (_marked("Fees of 1,204", "a", " and 318."), "Fees of 1,204ᵃ and 318."),
        (_marked("loss of \\(1,204\\)", "4", " in 2025"), "loss of (1,204)⁴ in 2025"),
        (_marked("grew 12.5%", "3", " in 2025"), "grew 12.5%³ in 2025"),
        (_marked("About 10", "-6", " of them"), "About 10⁻⁶ of them"),
        (
            b"BT 11 0 0 11 60 700 Tm /F1 1 Tf (Costs 99) Tj 7 0 0 7 104.5 704 Tm (1) Tj 11 0 0 11 110 700 Tm (each) Tj ET",
            "Costs 99¹ each",
        ),
        (
            b"BT /F1 11 Tf 60 700 Td (The dividend is $320) Tj ET BT /F1 7 Tf 163 704 Td (1) Tj ET "
            b"BT /F1 11 Tf 168 700 Td (per share.) Tj ET",
            "The dividend is $320¹ per share.",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_raised_digit_is_a_superscript(folder: Path, content: bytes, expected: str) -> None:
    assert _line(pdfs.drawn(folder / "raised.pdf", content)) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (_marked("CO", "2", " of the fleet", raise_by=-3), "CO2 of the fleet"),
        (_marked("Total 4,567", "89", " crowns", raise_by=0, small=11), "Total 4,56789 crowns"),
        (_marked("12", "34", " in small type", raise_by=0), "1234 in small type"),
        (_marked("The 21", "st", " of May"), "The 21st of May"),
        (_marked("H", "2", "O is water", raise_by=-3), "H2O is water"),
        (_marked("On the 2", "nd", " floor", size=20, small=12, raise_by=8), "On the 2nd floor"),
        (_marked("pages 10-12 of 5", "-", "6", raise_by=0, small=11), "pages 10-12 of 5-6"),
    ],
    ids=["lowered", "of one size", "small on the line", "ordinal", "lowered within", "large ordinal", "range"],
)
def test_what_is_not_a_raised_digit_stays(folder: Path, content: bytes, expected: str) -> None:
    assert " ".join(_line(pdfs.drawn(folder / "plain.pdf", content)).split()) == expected


def test_marks_are_told_on_a_turned_page(folder: Path) -> None:
    content = b"q 0 1 -1 0 300 100 cm " + _marked("Cost 318", "5", " in all").replace(b"60 700", b"0 0") + b" Q"
    assert _line(pdfs.drawn(folder / "turned.pdf", content)) == "Cost 318⁵ in all"


def test_the_place_of_text_behind_a_mark_is_right(folder: Path) -> None:
    path = pdfs.drawn(folder / "place.pdf", _marked("The dividend is $320", "1", " per share."))
    text = _line(path)
    (number,) = page_rectangles(path, 1, text.index("$320"), text.index("¹"))
    (after,) = page_rectangles(path, 1, text.index("per"), len(text))
    assert number[2] < after[0] and abs(number[3] - after[3]) < 0.005

"""What annotations show is part of the page's text, as a reader sees it."""

from pathlib import Path
from typing import Any

import pytest

from ingest.errors import NoTextInPDF
from ingest.pdf.read import read_pdf
from ingest.pdf.render import page_rectangles
from tests.ingest import pdfs

_HELVETICA = {"Type": "/Font", "Subtype": "/Type1", "BaseFont": "/Helvetica", "Encoding": "/WinAnsiEncoding"}


def _typed(text: str, **more: Any) -> dict[str, Any]:
    box = [100, 500, 400, 540]
    return {"Subtype": "/FreeText", "Rect": box, "Contents": text, "DA": "0 g /Helv 11 Tf"} | more


def _field(name: str, value: str, **more: Any) -> dict[str, Any]:
    look = {"FT": "/Tx", "T": name, "V": value, "DA": "0 g /Helv 12 Tf", "Rect": [100, 600, 400, 620]}
    return {"Subtype": "/Widget"} | look | more


def _form(**more: Any) -> dict[str, Any]:
    return {"AcroForm": {"DR": {"Font": {"Helv": _HELVETICA}}, "DA": "0 g /Helv 0 Tf"} | more}


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


def test_values_are_read_beside_their_labels_and_marked_where_they_are(folder: Path) -> None:
    """Labels before, behind and above the values; two values on one line; the file holds all values at its end."""
    lines = [
        (700, "First name:                                  Last name:"),
        (660, "I agree to the terms"),
        (620, "City"),
    ]
    content = b"".join(b"BT /F1 11 Tf 60 %d Td (%s) Tj ET\n" % (y, t.encode()) for y, t in [*lines, (500, "Page 1")])
    fields = [
        _field("last", "Halvorsen", Rect=[280, 694, 400, 714]),
        _field("first", "Ingrid", Rect=[120, 694, 200, 714]),
        _field("terms", "/Yes", FT="/Btn", AS="/Yes", Rect=[42, 658, 54, 670], MK={"CA": "4"}),
        _field("city", "Bergen", Rect=[60, 594, 200, 614]),
    ]
    path = pdfs.annotated(pdfs.drawn(folder / "beside.pdf", content), None, *fields, root=_form(NeedAppearances=True))
    text = _text(path)
    assert text.split("\n")[:4] == [
        "First name: Ingrid Last name: Halvorsen",
        "✔ I agree to the terms",
        "City",
        "Bergen",
    ]
    start = text.index("Halvorsen")
    (box,) = page_rectangles(path, 1, start, start + len("Halvorsen"))
    assert 278 / 595 < box[0] < 290 / 595 and 1 - 714 / 842 < box[1] < box[3] < 1 - 690 / 842


def test_a_box_lower_than_its_type_does_not_part_the_other_values_from_their_labels(folder: Path) -> None:
    lines = [(700, b"First name:                    Last name:"), (660, b"City and country of birth")]
    content = b"".join(b"BT /F1 11 Tf 60 %d Td (%s) Tj ET\n" % line for line in lines)
    low = pdfs.form_xobject(b"/Tx BMC BT /F1 11 Tf 2 -3 Td (Bergen) Tj ET EMC", 100, 8)
    fields = [
        _field("first", "Ingrid", Rect=[120, 694, 160, 714]),
        _field("low", "Bergen", Rect=[120, 602, 220, 610], AP={"N": low}),
    ]
    path = pdfs.annotated(pdfs.drawn(folder / "low.pdf", content), None, *fields, root=_form())
    assert _text(path).splitlines() == ["First name: Ingrid Last name:", "City and country of birth", "Bergen"]


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        (_field("blank", "Ingrid", AP={"N": pdfs.form_xobject(b"/Tx BMC EMC", 300, 20)}), "Ingrid"),
        (_field("nothing", "Ingrid", AP={"N": pdfs.form_xobject(b"", 300, 20)}), "Ingrid"),
        (_field("comb", "NO938601", Ff=1 << 24, MaxLen=8), "NO938601"),
        (_field("pair", "b", FT="/Ch", Ff=1 << 17, Opt=[["a", "Alpha"], ["b", "Beta"]]), "Beta"),
        (_field("radio", "/Yes", FT="/Btn", Ff=1 << 15, AS="/Yes", MK={"CA": "l"}), "✔"),
        (_field("other letters", "Анна Петрова"), "Анна Петрова"),
    ],
    ids=lambda value: value["T"] if isinstance(value, dict) else "",
)
def test_a_value_is_read_whatever_its_field_and_its_empty_drawing(
    folder: Path, field: dict[str, Any], shown: str
) -> None:
    path = pdfs.annotated(folder / f"{field['T']}.pdf", "Application", field, root=_form())
    assert _text(path).split() == ["Application", *shown.split()]


def test_what_pypdf_fills_in_is_read(folder: Path) -> None:
    from pypdf import PdfReader, PdfWriter

    empty = _field("name", "", Rect=[100, 770, 400, 790])
    writer = PdfWriter(clone_from=PdfReader(pdfs.annotated(folder / "empty.pdf", "Name", empty, root=_form())))
    writer.update_page_form_field_values(writer.pages[0], {"name": "Ingrid Halvorsen"}, auto_regenerate=False)
    writer.write(folder / "by_pypdf.pdf")
    assert "Ingrid Halvorsen" in _text(folder / "by_pypdf.pdf")


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        (_typed("", RC="<body><p>EUR 1,285</p></body>"), "EUR 1,285"),
        (_typed("EUR 1,285", Rotate=90), "EUR 1,285"),
        ({"Subtype": "/Stamp", "Rect": [100, 400, 300, 440], "Name": "/NotApproved"}, "NOT APPROVED"),
        (_typed("For print only", F=36), ""),
        (_typed("Drawn empty", AP={"N": pdfs.form_xobject(b"", 300, 40)}), ""),
    ],
    ids=["rich text alone", "turned", "stamp by name", "not for the screen", "empty drawing"],
)
def test_typed_text_is_read_if_a_viewer_shows_it(folder: Path, annotation: dict[str, Any], shown: str) -> None:
    text = _text(pdfs.annotated(folder / "shown.pdf", "Monthly rent:", annotation))
    assert text.removeprefix("Monthly rent:").strip() == shown


_WAIT = "Please wait...\n\nIf this message is not eventually replaced, get the latest version of Adobe Reader."
_WARTEN = "Bitte warten...\n\nFalls diese Meldung nicht ersetzt wird, installieren Sie bitte Adobe Reader."
_PACKETS = {"XFA": ["preamble", b"<xdp:xdp>", "template", b"<template/>"]}


@pytest.mark.parametrize(
    ("text", "form", "root"),
    [
        (_WAIT, _PACKETS, {"NeedsRendering": True}),
        (_WARTEN, {"XFA": b"<xdp:xdp/>"}, {"NeedsRendering": True}),
        (_WARTEN, _PACKETS, {}),
        ("Loading", _PACKETS, {"NeedsRendering": True}),
    ],
    ids=["English", "in one stream", "not marked as dynamic", "other words"],
)
def test_an_xfa_form_with_a_substitute_page_is_named(
    folder: Path, text: str, form: dict[str, Any], root: dict[str, Any]
) -> None:
    path = pdfs.annotated(folder / "xfa.pdf", text, root={"AcroForm": form} | root)
    with pytest.raises(NoTextInPDF, match="XFA form: its pages hold only a placeholder") as failed:
        read_pdf(path)
    assert "print it to a PDF" in failed.value.hint


def test_an_xfa_form_with_its_own_pages_is_read(folder: Path) -> None:
    field = _field("name", "Ingrid Halvorsen", Rect=[100, 770, 400, 790])
    read = read_pdf(pdfs.annotated(folder / "static.pdf", "Name of applicant", field, root=_form(XFA=[])))
    assert "Ingrid Halvorsen" in read.pages[0].text and read.notices == ()


def test_a_dynamic_xfa_form_with_pages_of_its_own_has_a_notice(folder: Path) -> None:
    long = "The applicant states the reasons for the leave in full sentences. " * 30
    read = read_pdf(pdfs.annotated(folder / "long.pdf", long, root={"AcroForm": _PACKETS, "NeedsRendering": True}))
    assert read.pages[0].text and "XFA form, whose fields were not read" in read.notices[0]

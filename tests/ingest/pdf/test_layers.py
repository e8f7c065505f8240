"""What a document hides when it is opened is not read; what it shows is, with its place."""

from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader, PdfWriter

from ingest.pdf.layers import as_shown
from ingest.pdf.read import read_pdf
from ingest.pdf.render import page_rectangles
from tests.ingest import pdfs

_TWO = (
    b"BT /F1 12 Tf 60 760 Td (Warranty conditions) Tj ET\n"
    b"/OC /Final BDC BT /F1 12 Tf 60 740 Td (It lasts 24 months.) Tj ET EMC\n"
    b"/OC /Draft BDC BT /F1 12 Tf 60 700 Td (It lasts 12 months.) Tj ET EMC"
)


def _layers(default: dict[str, Any], **more: object) -> dict[str, dict[str, Any]]:
    """The resources and the catalog of a document with the layers Final and Draft."""
    final, draft = (pdfs.Own({"Type": "/OCG", "Name": name} | more) for name in ("Final", "Draft"))
    named = {"FINAL": final, "DRAFT": draft}
    chosen = {
        key: [named[str(one)] for one in value] if isinstance(value, list) else value for key, value in default.items()
    }
    return {
        "resources": {"Properties": {"Final": final, "Draft": draft}},
        "root": {"OCProperties": {"OCGs": [final, draft], "D": chosen}},
    }


def _text(path: Path) -> str:
    return read_pdf(path).pages[0].text


@pytest.mark.parametrize(
    "default",
    [{"OFF": ["DRAFT"]}, {"BaseState": "/OFF", "ON": ["FINAL"]}],
    ids=["one is off", "all but one are off"],
)
def test_a_layer_that_is_switched_off_is_not_read(folder: Path, default: dict[str, Any]) -> None:
    path = pdfs.drawn(folder / "layers.pdf", _TWO, **_layers(default))
    assert _text(path) == "Warranty conditions\nIt lasts 24 months."


def test_a_layer_that_is_switched_on_is_read_and_the_file_is_taken_as_it_is(folder: Path) -> None:
    path = pdfs.drawn(folder / "on.pdf", _TWO, **_layers({"ON": ["FINAL", "DRAFT"]}))
    assert "12 months" in _text(path) and "24 months" in _text(path)
    assert as_shown(path, None) is None


def test_a_document_that_only_lists_a_hidden_layer_is_not_written_anew(folder: Path) -> None:
    path = pdfs.drawn(folder / "listed.pdf", b"BT /F1 12 Tf 60 760 Td (Plain) Tj ET", **_layers({"OFF": ["DRAFT"]}))
    assert as_shown(path, None) is None and _text(path) == "Plain"


def test_text_after_a_hidden_layer_keeps_its_place(folder: Path) -> None:
    content = b"BT /F1 12 Tf 14 TL 60 760 Td (One) Tj /OC /Draft BDC (two) ' EMC (three) ' ET"
    path = pdfs.drawn(folder / "place.pdf", content, **_layers({"OFF": ["DRAFT"]}))
    text = _text(path)
    assert text == "One\nthree"
    (box,) = page_rectangles(path, 1, text.index("three"), len(text))
    assert box[1] < 1 - 732 / 842 < box[3]  # two lines of 14 points below 760


def test_a_form_drawn_on_a_hidden_layer_is_not_read(folder: Path) -> None:
    parts = _layers({"OFF": ["DRAFT"]})
    hidden = pdfs.form_xobject(b"BT /F1 12 Tf 60 700 Td (CONFIDENTIAL DRAFT) Tj ET", 595, 842)
    path = pdfs.drawn(
        folder / "form.pdf",
        b"BT /F1 12 Tf 60 760 Td (Shown) Tj ET /OC /Draft BDC /X1 Do EMC",
        resources=parts["resources"] | {"XObject": {"X1": hidden}},
        root=parts["root"],
    )
    assert _text(path) == "Shown"


@pytest.mark.parametrize(
    ("policy", "shown"), [("/AnyOn", True), ("/AllOn", False), ("/AllOff", False), ("/AnyOff", True)]
)
def test_the_policy_of_a_membership_decides(folder: Path, policy: str, shown: bool) -> None:
    parts = _layers({"OFF": ["DRAFT"]})
    groups = list(parts["resources"]["Properties"].values())
    member = pdfs.Own({"Type": "/OCMD", "OCGs": groups, "P": policy})
    parts["resources"]["Properties"] |= {"Both": member}
    content = b"BT /F1 12 Tf 60 760 Td (Always) Tj ET /OC /Both BDC BT /F1 12 Tf 60 700 Td (Sometimes) Tj ET EMC"
    path = pdfs.drawn(folder / f"policy{policy[1:]}.pdf", content, **parts)
    assert ("Sometimes" in _text(path)) is shown


_SOMETIMES = b"BT /F1 12 Tf 60 760 Td (Always) Tj ET /OC /Both BDC BT /F1 12 Tf 60 700 Td (Sometimes) Tj ET EMC"


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        (lambda final, draft: ["/Not", draft], True),
        (lambda final, draft: ["/And", final, draft], False),
        (lambda final, draft: ["/Or", ["/Not", final], ["/Not", draft]], True),
        (lambda final, draft: ["/And", final, ["/Not", ["/Or", draft, final]]], False),
    ],
    ids=["not", "and", "or of not", "nested"],
)
def test_the_expression_of_a_membership_decides_over_its_policy(folder: Path, expression: Any, shown: bool) -> None:
    parts = _layers({"OFF": ["DRAFT"]})
    final, draft = parts["resources"]["Properties"].values()
    member = {"Type": "/OCMD", "OCGs": [final, draft], "P": "/AllOff" if shown else "/AnyOn"}
    parts["resources"]["Properties"] |= {"Both": pdfs.Own(member | {"VE": expression(final, draft)})}
    assert ("Sometimes" in _text(pdfs.drawn(folder / "expression.pdf", _SOMETIMES, **parts))) is shown


@pytest.mark.parametrize(("state", "shown"), [("/OFF", False), ("/ON", True)])
def test_the_state_for_viewing_decides_where_the_document_asks_for_it(folder: Path, state: str, shown: bool) -> None:
    layer = pdfs.Own({"Type": "/OCG", "Name": "Proof", "Usage": {"View": {"ViewState": state}}})
    uses = {"Event": "/View", "Category": ["/View"], "OCGs": [layer]}
    default = {"AS": [uses], "OFF": [layer] if shown else []}
    path = pdfs.drawn(
        folder / "view.pdf",
        _SOMETIMES,
        resources={"Properties": {"Both": layer}},
        root={"OCProperties": {"OCGs": [layer], "D": default}},
    )
    assert ("Sometimes" in _text(path)) is shown


def test_hidden_layers_of_an_encrypted_file_and_of_notes_are_not_read(folder: Path) -> None:
    writer = PdfWriter(clone_from=PdfReader(pdfs.drawn(folder / "plain.pdf", _TWO, **_layers({"OFF": ["DRAFT"]}))))
    writer.encrypt("", "owner", algorithm="AES-256")
    writer.write(folder / "encrypted.pdf")
    assert _text(folder / "encrypted.pdf") == "Warranty conditions\nIt lasts 24 months."
    layer = pdfs.Own({"Type": "/OCG", "Name": "Draft"})
    note = {"Subtype": "/FreeText", "Rect": [100, 500, 400, 540], "Contents": "To be checked", "OC": layer}
    root = {"OCProperties": {"OCGs": [layer], "D": {"OFF": [layer]}}}
    assert _text(pdfs.annotated(folder / "note.pdf", "Shown.", note, root=root)) == "Shown."

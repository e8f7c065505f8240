"""Makes what annotations show (form values, typed text, stamps) part of a page's text."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

_LEADING = 1.2  # distance of two lines, in type sizes
_USUAL_SIZE = 10.0  # points, where an annotation names no size
_LONGEST = 20_000  # bytes of an annotation's text
_TYPE_SIZE = re.compile(r"([\d.]+)\s+Tf")
_DRAWS_TEXT = re.compile(r"\b(?:Tj|TJ|Do)\b|\)\s*['\"]")
_COMB = 1 << 24  # flag of a field that has a box for each letter
_CHECKED = "✔"
_TAG = re.compile(r"<[^>]*>")
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")

Box = tuple[float, float, float, float]  # left, bottom, right, top, in points of the page


def draw_undrawn_values(document: Any) -> None:
    """Give a document with form fields its form environment, which draws the values that no program has drawn yet."""
    import pypdfium2.raw as pdfium

    if pdfium.FPDF_GetFormType(document) in (pdfium.FORMTYPE_ACRO_FORM, pdfium.FORMTYPE_XFA_FOREGROUND):
        document.init_forms()


@dataclass(frozen=True)
class Shown:
    """What a page shows: its edges, the boxes of its annotations, and whether some of their text is left out."""

    edges: Box
    boxes: tuple[Box, ...] = ()
    incomplete: bool = False  # typed text that has no drawing, and no letters of a standard font


def page_with_annotations(document: Any, index: int) -> tuple[Any, Shown]:
    """Load page `index` (from 0) with its visible annotations drawn into it, in memory only."""
    import pypdfium2.raw as pdfium

    page = document[index]
    if pdfium.FPDFPage_GetAnnotCount(page) <= 0 or not any(_each(page, _may_show_text)):
        return page, Shown(page.get_bbox())
    boxes = [box for box in _each(page, partial(_prepare, document)) if box]
    page.close()
    page = document[index]  # PDFium draws values when it loads a page
    undrawn = [found for found in _each(page, partial(_undrawn_text, document)) if found]
    # what is drawn is no text of the page; flattening makes it one. It leaves out what is hidden and pop-up windows
    if pdfium.FPDFPage_Flatten(page, pdfium.FLAT_NORMALDISPLAY) == pdfium.FLATTEN_SUCCESS:
        page.close()
        page = document[index]
    boxes += [_write(document, page, *found) for found in undrawn]
    return page, Shown(page.get_bbox(), tuple(boxes), not all(_is_standard(text) for text, *_ in undrawn))


def _each(page: Any, read: Callable[[Any], Any]) -> list[Any]:
    import pypdfium2.raw as pdfium

    found = []
    for index in range(pdfium.FPDFPage_GetAnnotCount(page)):
        annotation = pdfium.FPDFPage_GetAnnot(page, index)
        if annotation:
            try:
                found.append(read(annotation))
            finally:
                pdfium.FPDFPage_CloseAnnot(annotation)
    return found


def _may_show_text(annotation: Any) -> bool:
    """Return whether it is worth drawing: pages full of links are common, and loading a page anew takes as long again."""
    import pypdfium2.raw as pdfium

    return pdfium.FPDFAnnot_GetSubtype(annotation) in (
        pdfium.FPDF_ANNOT_FREETEXT,
        pdfium.FPDF_ANNOT_WIDGET,
        pdfium.FPDF_ANNOT_STAMP,
        pdfium.FPDF_ANNOT_WATERMARK,
        pdfium.FPDF_ANNOT_LINE,
        pdfium.FPDF_ANNOT_REDACT,
    )


def _prepare(document: Any, annotation: Any) -> Box | None:
    """Have an annotation drawn as a reader sees it, and return its box, None if it is not shown."""
    import pypdfium2.raw as pdfium

    flags = pdfium.FPDFAnnot_GetFlags(annotation)
    if flags & (pdfium.FPDF_ANNOT_FLAG_HIDDEN | pdfium.FPDF_ANNOT_FLAG_NOVIEW):
        # flattening would draw what is shown in print only
        pdfium.FPDFAnnot_SetFlags(annotation, flags | pdfium.FPDF_ANNOT_FLAG_HIDDEN)
        return None
    if document.formenv and pdfium.FPDFAnnot_GetSubtype(annotation) == pdfium.FPDF_ANNOT_WIDGET:
        _have_value_drawn(document.formenv, annotation)
    box = pdfium.FS_RECTF()
    if not pdfium.FPDFAnnot_GetRect(annotation, box):
        return None
    return box.left, box.bottom, box.right, box.top


def _have_value_drawn(form: Any, annotation: Any) -> None:
    """Remove the drawing of a field that does not hold its value: PDFium then draws it.

    Programs fill in a blank form and leave its empty drawings. A comb, a box for each letter, would part the letters.
    """
    import pypdfium2.raw as pdfium

    kind = pdfium.FPDFAnnot_GetFormFieldType(form, annotation)
    if kind not in (pdfium.FPDF_FORMFIELD_TEXTFIELD, pdfium.FPDF_FORMFIELD_COMBOBOX):
        return
    flags = pdfium.FPDFAnnot_GetFormFieldFlags(form, annotation)
    is_comb = kind == pdfium.FPDF_FORMFIELD_TEXTFIELD and flags & _COMB
    if is_comb:
        pdfium.FPDFAnnot_SetFormFieldFlags(form, annotation, flags & ~_COMB)
    is_blank = pdfium.FPDFAnnot_HasKey(annotation, b"AP") and not _DRAWS_TEXT.search(_drawing(annotation))
    value = partial(pdfium.FPDFAnnot_GetFormFieldValue, form, annotation)
    if is_comb or (is_blank and _read_string(value).strip()):
        pdfium.FPDFAnnot_SetAP(annotation, pdfium.FPDF_ANNOT_APPEARANCEMODE_NORMAL, None)


def _undrawn_text(document: Any, annotation: Any) -> tuple[str, float, float, float] | None:
    """Return text, type size, left and top of a visible annotation that shows text without drawing letters."""
    import pypdfium2.raw as pdfium

    opacity = ctypes.c_float(1.0)
    pdfium.FPDFAnnot_GetNumberValue(annotation, b"CA", opacity)
    if pdfium.FPDFAnnot_GetFlags(annotation) & pdfium.FPDF_ANNOT_FLAG_HIDDEN or not opacity.value:
        return None
    kind = pdfium.FPDFAnnot_GetSubtype(annotation)
    is_drawn = pdfium.FPDFAnnot_HasKey(annotation, b"AP")
    text = ""
    if kind == pdfium.FPDF_ANNOT_FREETEXT and not is_drawn:
        text = _string(annotation, b"Contents").strip() or _TAG.sub("", _string(annotation, b"RC")).strip()
    elif kind == pdfium.FPDF_ANNOT_STAMP and not is_drawn:
        text = _CAPITAL.sub(" ", _string(annotation, b"Name")).upper()  # viewers draw the usual ones by their name
    elif kind == pdfium.FPDF_ANNOT_WIDGET and document.formenv:
        is_checked = pdfium.FPDFAnnot_IsChecked(document.formenv, annotation)
        text = _CHECKED if is_checked and not _DRAWS_TEXT.search(_drawing(annotation)) else ""
    size = _TYPE_SIZE.search(_string(annotation, b"DA"))
    box = pdfium.FS_RECTF()
    if not text or not pdfium.FPDFAnnot_GetRect(annotation, box):
        return None
    return text, float(size[1]) if size and float(size[1]) > 0 else _USUAL_SIZE, box.left, box.top


def _drawing(annotation: Any) -> str:
    import pypdfium2.raw as pdfium

    return _read_string(partial(pdfium.FPDFAnnot_GetAP, annotation, pdfium.FPDF_ANNOT_APPEARANCEMODE_NORMAL))


def _string(annotation: Any, key: bytes) -> str:
    import pypdfium2.raw as pdfium

    return _read_string(partial(pdfium.FPDFAnnot_GetStringValue, annotation, key))


def _read_string(read: Callable[[Any, int], int]) -> str:
    buffer = (ctypes.c_ushort * (_LONGEST // 2))()
    length = read(buffer, _LONGEST)
    return bytes(memoryview(buffer).cast("B")[: max(0, min(length, _LONGEST) - 2)]).decode("utf-16-le", "replace")


def _write(document: Any, page: Any, text: str, size: float, left: float, top: float) -> Box:
    """Write lines of text onto a page and return their box; a line without letters of a standard font is left out."""
    import pypdfium2.raw as pdfium

    shown = [line for line in map(str.strip, re.split(r"[\r\n]+", text)) if line]
    for number, line in enumerate(shown, start=1):
        if not _is_standard(line):
            continue
        item = pdfium.FPDFPageObj_NewTextObj(document, b"ZapfDingbats" if line == _CHECKED else b"Helvetica", size)
        encoded = (line + "\0").encode("utf-16-le")
        pdfium.FPDFText_SetText(item, ctypes.cast(ctypes.create_string_buffer(encoded), pdfium.FPDF_WIDESTRING))
        pdfium.FPDFPageObj_Transform(item, 1, 0, 0, 1, left, top - number * _LEADING * size)
        pdfium.FPDFPage_InsertObject(page, item)
    right = left + size * max(map(len, shown), default=0)  # no letter is wider than its size
    return left, top - _LEADING * size * (len(shown) + 0.5), right, top


def _is_standard(text: str) -> bool:
    if text == _CHECKED:
        return True
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True

"""Makes what annotations show (form values, typed text, stamps) part of a page's text."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any

_LEADING = 1.2  # distance of two lines, in type sizes
_USUAL_SIZE = 10.0  # points, where an annotation names no size
_LONGEST = 20_000  # bytes of an annotation's text
_TYPE_SIZE = re.compile(r"([\d.]+)\s+Tf")


def draw_undrawn_values(document: Any) -> None:
    """Give a document with form fields its form environment, which draws the values that no program has drawn yet."""
    import pypdfium2.raw as pdfium

    if pdfium.FPDF_GetFormType(document) in (pdfium.FORMTYPE_ACRO_FORM, pdfium.FORMTYPE_XFA_FOREGROUND):
        document.init_forms()


def page_with_annotations(document: Any, index: int) -> tuple[Any, bool]:
    """Load page `index` (from 0) with its visible annotations drawn into it, in memory only.

    Return the page, and whether typed text was left out: it has no drawing, and no letters of a standard font.
    """
    import pypdfium2.raw as pdfium

    page = document[index]
    if pdfium.FPDFPage_GetAnnotCount(page) <= 0:
        return page, False
    if not any(_each(page, _may_show_text)):
        return page, False
    undrawn = [found for found in _each(page, _typed_text) if found]
    # what is drawn is no text of the page; flattening makes it one. It leaves out what is hidden and pop-up windows
    if pdfium.FPDFPage_Flatten(page, pdfium.FLAT_NORMALDISPLAY) == pdfium.FLATTEN_SUCCESS:
        page.close()
        page = document[index]
    for text, size, left, top in undrawn:
        _write(document, page, text, size, left, top)
    return page, not all(_is_standard(text) for text, *_ in undrawn)


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


def _typed_text(annotation: Any) -> tuple[str, float, float, float] | None:
    """Return text, type size, left and top of a visible FreeText annotation without a drawing of its own."""
    import pypdfium2.raw as pdfium

    if pdfium.FPDFAnnot_GetSubtype(annotation) != pdfium.FPDF_ANNOT_FREETEXT:
        return None
    hidden = pdfium.FPDF_ANNOT_FLAG_HIDDEN | pdfium.FPDF_ANNOT_FLAG_NOVIEW
    if pdfium.FPDFAnnot_GetFlags(annotation) & hidden or pdfium.FPDFAnnot_HasKey(annotation, b"AP"):
        return None
    text = _string(annotation, b"Contents").strip()
    size = _TYPE_SIZE.search(_string(annotation, b"DA"))
    box = pdfium.FS_RECTF()
    if not text or not pdfium.FPDFAnnot_GetRect(annotation, box):
        return None
    return text, float(size[1]) if size and float(size[1]) > 0 else _USUAL_SIZE, box.left, box.top


def _string(annotation: Any, key: bytes) -> str:
    import pypdfium2.raw as pdfium

    buffer = (ctypes.c_ushort * (_LONGEST // 2))()
    length = pdfium.FPDFAnnot_GetStringValue(annotation, key, buffer, _LONGEST)
    return bytes(memoryview(buffer).cast("B")[: max(0, min(length, _LONGEST) - 2)]).decode("utf-16-le", "replace")


def _write(document: Any, page: Any, text: str, size: float, left: float, top: float) -> None:
    import pypdfium2.raw as pdfium

    for number, line in enumerate(filter(None, map(str.strip, re.split(r"[\r\n]+", text))), start=1):
        item = pdfium.FPDFPageObj_NewTextObj(document, b"Helvetica", size)
        encoded = (line + "\0").encode("utf-16-le")
        pdfium.FPDFText_SetText(item, ctypes.cast(ctypes.create_string_buffer(encoded), pdfium.FPDF_WIDESTRING))
        pdfium.FPDFPageObj_Transform(item, 1, 0, 0, 1, left, top - number * _LEADING * size)
        pdfium.FPDFPage_InsertObject(page, item)


def _is_standard(text: str) -> bool:
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True

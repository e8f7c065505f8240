"""Writes recognized words as invisible text into a copy of the document, each in its place."""

from __future__ import annotations

import ctypes
import math
import os
import struct
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ingest.errors import UnreadablePDF
from ingest.ocr.page import PageText
from ingest.ocr.words import Word
from ingest.pdf import pdfium
from ingest.pdf.letters import Letters

FONT = "QuireOCR"  # its name tells our layer from that of another program
_ADVANCE = 0.5  # of each character, in type sizes
_DESCENT = 0.2  # of the box below the line
_MIN_SIDE = 5.0  # points of a page; type of that size is hardly legible
_MIN_ROWS = 8  # pixels; letters of fewer rows cannot be told apart
_UNIT = 1_000_000  # PDFium converts whole pixels
_PICTURE_DPI = 150  # of a page that is replaced by its picture

_TO_UNICODE = (
    b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap\n"
    b"/CMapName /Adobe-Identity-UCS def /CMapType 2 def\n"
    b"1 begincodespacerange <0000> <FFFF> endcodespacerange\n"
    + b"".join(  # a range has one high byte, a list up to 100 ranges
        b"64 beginbfrange\n"
        + b"".join(b"<%02X00> <%02XFF> <%02X00>\n" % (high, high, high) for high in range(first, first + 64))
        + b"endbfrange\n"
        for first in range(0, 256, 64)
    )
    + b"endcmap end end\n"
)


def holds_a_line(document: Any, index: int) -> bool:
    """Return whether page `index` (from 0), and what it shows, are large enough for a line of text.

    An icon would be drawn as large as a page, and read for as long as one. A scan may be stored in strips of one row.
    """
    import pypdfium2.raw as pdfium

    page = document[index]
    try:
        rows = 0
        for item in page.get_objects(max_depth=4):
            rows += min(item.get_px_size()) if item.type == pdfium.FPDF_PAGEOBJ_IMAGE else _MIN_ROWS
            if rows >= _MIN_ROWS:
                return bool(min(page.get_size()) >= _MIN_SIDE)
        return not rows
    finally:
        page.close()


def draw(document: Any, index: int, *, dpi: int, shortest: int, longest: int) -> Any:
    """Return page `index` (from 0) as a gray picture, uint8 [height, width], its longer side within the bounds."""
    page = document[index]
    try:
        side = max(*page.get_size(), 1.0)
        pixels = min(max(side * dpi / 72, shortest), longest)
        bitmap = page.render(scale=pixels / side, grayscale=True)
        try:
            return bitmap.to_numpy().reshape(bitmap.height, -1)[:, : bitmap.width].copy()
        finally:
            bitmap.close()
    finally:
        page.close()


def write_layer(
    source: Path,
    password: str | None,
    texts: Mapping[int, PageText],
    target: Path,
    *,
    as_pictures: Collection[int] = (),
) -> None:
    """Write the document to `target`, readable by its owner only, with the text of its pages (from 1) added.

    Pages in `as_pictures` are replaced by their picture: their own text cannot be decoded. The copy is not encrypted.
    """
    import pypdfium2.raw as raw

    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    try:
        with pdfium.opened(source, password) as document:
            font = _load_font(document)
            for number, text in texts.items():
                if number in as_pictures:
                    _replace_by_picture(document, number - 1)
                _set_upright(document, number - 1, text)
                _write_page(document, number - 1, font, text)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                document.save(file, flags=raw.FPDF_REMOVE_SECURITY)
            raw.FPDFFont_Close(font)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def remove_layer(source: Path, target: Path) -> None:
    """Write the document to `target` without the text that `write_layer` added."""
    import pypdfium2.raw as raw

    with pdfium.opened(source, None) as document:
        for index in range(len(document)):
            page = document[index]
            try:
                ours = [item for item in page.get_objects([raw.FPDF_PAGEOBJ_TEXT], max_depth=1) if _is_ours(item)]
                for item in ours:
                    page.remove_obj(item)
                if ours:
                    page.gen_content()
            finally:
                page.close()
        with target.open("wb") as file:
            document.save(file)


def _is_ours(item: Any) -> bool:
    import pypdfium2.raw as raw

    name = ctypes.create_string_buffer(256)
    length = raw.FPDFFont_GetBaseFontName(raw.FPDFTextObj_GetFont(item), name, 256)
    return 0 < length <= 256 and FONT.encode() in name.value


def _replace_by_picture(document: Any, index: int) -> None:
    """Replace what a page draws by a picture of it, annotations too."""
    import pypdfium2
    import pypdfium2.raw as raw

    page = document[index]
    try:
        bitmap = page.render(scale=_PICTURE_DPI / 72)
        while raw.FPDFPage_GetAnnotCount(page) > 0 and raw.FPDFPage_RemoveAnnot(page, 0):
            pass
        for item in list(page.get_objects(max_depth=1)):
            page.remove_obj(item)
        picture = pypdfium2.PdfImage.new(document)
        picture.set_bitmap(bitmap)
        low, right, up = (_point(page, *corner) for corner in ((0, 1), (1, 1), (0, 0)))
        matrix = raw.FS_MATRIX(right[0] - low[0], right[1] - low[1], up[0] - low[0], up[1] - low[1], *low)
        raw.FPDFPageObj_SetMatrix(picture, matrix)
        page.insert_obj(picture)
        page.gen_content()
        bitmap.close()
    finally:
        page.close()


def _load_font(document: Any) -> Any:
    """Return a font in the document that has all characters and draws none of them."""
    import pypdfium2.raw as raw

    data = _blank_font()
    glyphs = bytes((0, 1)) * 65_536  # every character is glyph 1
    font = raw.FPDFText_LoadCidType2Font(
        document, _as_bytes(data), len(data), _TO_UNICODE, _as_bytes(glyphs), len(glyphs)
    )
    if not font:
        raise UnreadablePDF("PDFium did not take the font of the OCR layer", "please report this")
    return font


def _as_bytes(data: bytes) -> Any:
    return (ctypes.c_ubyte * len(data)).from_buffer_copy(data)


def _blank_font() -> bytes:
    """Return a TrueType font whose glyph 1 is a line from corner to corner of its box: it has a size, and no area."""
    name = FONT.encode("utf-16-be")
    tables = {
        b"cmap": struct.pack(">HHHHI", 0, 1, 3, 1, 12)
        + struct.pack(">12H", 4, 24, 0, 2, 2, 0, 0, 0xFFFF, 0, 0xFFFF, 1, 0),
        b"glyf": struct.pack(">5h2H2B4h", 1, 0, -200, 500, 800, 1, 0, 1, 1, 0, 500, -200, 1000),
        b"head": struct.pack(
            ">IIIIHHQQhhhhHHhhh",
            *(0x10000, 0x10000, 0, 0x5F0F3CF5, 0, 1000, 0, 0),
            *(0, -200, 500, 800, 0, 8, 2, 0, 0),
        ),
        b"hhea": struct.pack(">IhhhHhhhhhhhhhhhH", 0x10000, 800, -200, 0, 500, 0, 0, 500, 1, *[0] * 7, 1),
        b"hmtx": struct.pack(">Hhh", 500, 0, 0),
        b"loca": struct.pack(">HHH", 0, 0, 12),
        b"maxp": struct.pack(">I14H", 0x10000, 2, 2, 1, 0, 0, 1, *[0] * 8),
        b"name": struct.pack(">HHHHHHHHH", 0, 1, 18, 3, 1, 0x409, 6, len(name), 0) + name,
        b"post": struct.pack(">IIhhIIIII", 0x30000, 0, 0, 0, 1, 0, 0, 0, 0),
    }
    directory = struct.pack(">IHHHH", 0x10000, len(tables), 128, 3, 16 * len(tables) - 128)
    place = 12 + 16 * len(tables)
    body = b""
    for tag, table in tables.items():
        padded = table + bytes(-len(table) % 4)
        checksum = sum(struct.unpack(f">{len(padded) // 4}I", padded)) & 0xFFFFFFFF
        directory += tag + struct.pack(">III", checksum, place + len(body), len(table))
        body += padded
    return directory + body


def _set_upright(document: Any, index: int, text: PageText) -> None:
    """Turn a page as its text was read, so that it shows upright and level: PDFium mixes the rows of a tilted page."""
    import pypdfium2.raw as raw

    page = document[index]
    try:
        if text.turn:
            page.set_rotation((page.get_rotation() + text.turn) % 360)
        if text.tilt:
            (x, y), angle = _point(page, 0.5, 0.5), math.radians(text.tilt)
            cos, sin = math.cos(angle), math.sin(angle)
            matrix = raw.FS_MATRIX(cos, sin, -sin, cos, x - x * cos + y * sin, y - x * sin - y * cos)
            raw.FPDFPage_TransFormWithClip(page, matrix, None)
    finally:
        page.close()


def _write_page(document: Any, index: int, font: Any, text: PageText) -> None:
    page = document[index]
    try:
        printed = _text_boxes(page)
        for row in text.rows:
            new = [word for word in row if not any(_is_in(word, box) for box in printed)]
            for number, word in enumerate(new, 1):
                _write_word(document, page, font, word, " " if number < len(new) else "")
        page.gen_content()
    finally:
        page.close()


def _text_boxes(page: Any) -> list[pdfium.Box]:
    """Return where the page has text of its own, such as a stamp: OCR reads it too, and it would be there twice."""
    text = page.get_textpage()
    try:
        letters = Letters(text)
        return pdfium.boxes(page, letters, list(range(len(letters.raw))))
    finally:
        text.close()


def _is_in(word: Word, box: pdfium.Box) -> bool:
    left, top, right, bottom = box
    return left <= (word.left + word.right) / 2 <= right and top <= (word.top + word.bottom) / 2 <= bottom


def _write_word(document: Any, page: Any, font: Any, word: Word, blank: str) -> None:
    """Add one word, scaled to its box, with a blank behind it if another word of the row follows."""
    import pypdfium2.raw as raw

    low, right, up = (
        _point(page, *corner) for corner in ((word.left, word.bottom), (word.right, word.bottom), (word.left, word.top))
    )
    wide = len(word.text.encode("utf-16-be")) // 2 * _ADVANCE
    encoded = (word.text + blank).encode("utf-16-be")
    codes = struct.unpack(f">{len(encoded) // 2}H", encoded)
    item = raw.FPDFPageObj_CreateTextObj(document, font, 1.0)
    raw.FPDFText_SetCharcodes(item, (ctypes.c_uint32 * len(codes))(*codes), len(codes))
    raw.FPDFTextObj_SetTextRenderMode(item, raw.FPDF_TEXTRENDERMODE_INVISIBLE)
    across, along = (right[0] - low[0]) / wide, (right[1] - low[1]) / wide
    rise, lift = up[0] - low[0], up[1] - low[1]
    place = low[0] + _DESCENT * rise, low[1] + _DESCENT * lift
    raw.FPDFPageObj_SetMatrix(item, raw.FS_MATRIX(across, along, rise, lift, *place))
    raw.FPDFPage_InsertObject(page, item)


def _point(page: Any, x: float, y: float) -> tuple[float, float]:
    """Return a place in fractions of the shown page, origin top left, in points of the page."""
    import pypdfium2.raw as raw

    right, up = ctypes.c_double(), ctypes.c_double()
    raw.FPDF_DeviceToPage(page, 0, 0, _UNIT, _UNIT, 0, round(x * _UNIT), round(y * _UNIT), right, up)
    return right.value, up.value

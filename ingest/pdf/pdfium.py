"""PDFium behind one lock: raw text, type of lines, positions of characters, images of pages."""

from __future__ import annotations

import ctypes
import math
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ingest.errors import PasswordRequired, UnreadablePDF
from ingest.pdf.annotations import Shown, draw_undrawn_values, page_with_annotations
from ingest.pdf.letters import Letters, in_logical_order
from ingest.pdf.order import Ordered, in_reading_order
from ingest.pdf.raised import with_raised_digits

LOCK = threading.RLock()  # PDFium is not thread-safe, not even across documents
_PASSWORD_ERROR = 4  # FPDF_ERR_PASSWORD
_MAX_PIXELS = 40_000_000  # of an image; a page may declare any size

Box = tuple[float, float, float, float]


class Line(NamedTuple):
    """One line of the raw text: its range, and the type of its first and last characters."""

    start: int
    end: int
    size: float  # points, including the scaling of the page
    bold: bool


@contextmanager
def opened(path: Path, password: str | None, data: bytes | None = None) -> Iterator[Any]:
    """Open a document, or `data` in its place, under the lock; raise PasswordRequired or UnreadablePDF with the reason."""
    import pypdfium2

    with LOCK:
        document = None
        # a document with only an owner password opens without one
        for candidate in dict.fromkeys((None, password or None)):
            try:
                document = pypdfium2.PdfDocument(data or path, password=candidate)
                break
            except pypdfium2.PdfiumError as exc:
                if exc.err_code != _PASSWORD_ERROR:
                    raise UnreadablePDF(f"{path.name}: {exc}") from exc
        if document is None:
            raise password_error(path, password)
        try:
            draw_undrawn_values(document)
            yield document
        finally:
            document.close()


def password_error(path: Path, password: str | None) -> PasswordRequired:
    """Return the error for a missing or a wrong password."""
    if password:
        return PasswordRequired(f"{path.name}: the password given is wrong", "give the right one with --password")
    return PasswordRequired(f"{path.name} is encrypted and needs a password", "give it with --password")


def needs_password(path: Path) -> bool:
    """Return whether the document cannot be opened without a password."""
    try:
        with opened(path, None):
            return False
    except PasswordRequired:
        return True


@contextmanager
def text_page(document: Any, index: int) -> Iterator[tuple[Any, Any, Shown]]:
    """Load page `index` (from 0) and its text, with what its annotations show: form values and typed text."""
    page, shown = page_with_annotations(document, index)
    try:
        text = page.get_textpage()
        try:
            yield page, text, shown
        finally:
            text.close()
    finally:
        page.close()


def xfa_form(document: Any) -> str | None:
    """Return "dynamic" for a form whose pages only Adobe's programs can draw, "static" for one with ordinary pages."""
    import pypdfium2.raw as pdfium

    kinds = {pdfium.FORMTYPE_XFA_FULL: "dynamic", pdfium.FORMTYPE_XFA_FOREGROUND: "static"}
    return kinds.get(pdfium.FPDF_GetFormType(document))


def read_text(letters: Letters, shown: Shown) -> Ordered:
    """Return all characters of a page in reading order, raised digits as superscripts."""
    return in_reading_order(letters, in_logical_order(letters, with_raised_digits(letters)), shown)


def lines(letters: Letters, ordered: Ordered) -> list[Line]:
    """Return the lines of a page with their type; only two characters a line are read, for speed."""
    return [
        Line(start, end, size, letters.is_bold(ordered.origin(start)) and letters.is_bold(ordered.origin(end - 1)))
        for start, end, size in ordered.lines
    ]


def boxes(page: Any, letters: Letters, positions: list[int]) -> list[Box]:
    """Return one rectangle a line for positions in `letters.raw`, in fractions of the rendered page, origin top left."""
    import pypdfium2.raw as pdfium

    text = letters.text
    rectangle = pdfium.FS_RECTF()
    merged: list[Box] = []
    for position in positions:
        index = letters.index(position)
        if not 0 <= index < letters.count or pdfium.FPDFText_IsGenerated(text, index) == 1:
            continue  # spaces and line ends that PDFium inserted have no position
        if not pdfium.FPDFText_GetLooseCharBox(text, index, rectangle):
            continue
        box = _on_rendered_page(page, rectangle)
        if box[2] - box[0] <= 0 or box[3] - box[1] <= 0:
            continue
        # the angle is counterclockwise on the unrotated page; the page is rotated clockwise
        angle = math.degrees(pdfium.FPDFText_GetCharAngle(text, index)) - page.get_rotation()
        along = 1 if 45 < angle % 180 < 135 else 0  # 1 if the line runs down or up the rendered page, 0 if across it
        if merged and _continues(merged[-1], box, along):
            merged[-1] = _union(merged[-1], box)
        else:
            merged.append(box)
    return merged


def _on_rendered_page(page: Any, rectangle: Any) -> Box:
    import pypdfium2.raw as pdfium

    scale = 1_000_000  # PDFium returns whole pixels; it applies rotation and crop box
    xs, ys = [], []
    for x, y in ((rectangle.left, rectangle.top), (rectangle.right, rectangle.bottom)):
        column, row = ctypes.c_int(), ctypes.c_int()
        pdfium.FPDF_PageToDevice(page, 0, 0, scale, scale, 0, x, y, column, row)
        xs.append(min(1.0, max(0.0, column.value / scale)))
        ys.append(min(1.0, max(0.0, row.value / scale)))
    return min(xs), min(ys), max(xs), max(ys)


def _continues(line: Box, box: Box, along: int) -> bool:
    """Return whether `box` continues `line`, which runs along axis 0 (across the page) or 1 (down it)."""
    across = 1 - along
    thickness = min(line[across + 2] - line[across], box[across + 2] - box[across])
    overlap = min(line[across + 2], box[across + 2]) - max(line[across], box[across])
    gap = max(box[along] - line[along + 2], line[along] - box[along + 2])
    # gaps between words are under 4 % of the page; those between columns or table cells are wider
    return overlap > 0.5 * thickness and gap < 0.04


def _union(first: Box, second: Box) -> Box:
    return (
        min(first[0], second[0]),
        min(first[1], second[1]),
        max(first[2], second[2]),
        max(first[3], second[3]),
    )


def render_png(page: Any, scale: float) -> bytes:
    """Return the page as a PNG, `scale` pixels a point, fewer if the page is very large."""
    width, height = page.get_size()
    pixels = max(1.0, width * height) * scale * scale
    if pixels > _MAX_PIXELS:
        scale *= (_MAX_PIXELS / pixels) ** 0.5
    bitmap = page.render(scale=scale, rev_byteorder=True)
    try:
        return _png(bitmap.to_numpy())
    finally:
        bitmap.close()


def _png(pixels: Any) -> bytes:
    """Return a PNG of uint8 [height, width, channels]; these twenty lines save a dependency on Pillow."""
    import numpy as np

    height, width, channels = pixels.shape
    color_type = {1: 0, 3: 2, 4: 2}[channels]
    kept = pixels[:, :, :3] if channels == 4 else pixels  # the fourth channel is unused, not alpha
    rows = np.zeros((height, 1 + width * kept.shape[2]), dtype=np.uint8)  # first byte of a row: filter 0
    rows[:, 1:] = kept.reshape(height, -1)

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    body = zlib.compress(rows.tobytes(), 6)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", body) + part(b"IEND", b"")

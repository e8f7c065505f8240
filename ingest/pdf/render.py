"""Shows pages of a PDF: as an image, and where a range of its text is on the page."""

from __future__ import annotations

from pathlib import Path

from ingest.errors import PasswordRequired, UnreadablePDF
from ingest.pdf import layers, pdfium
from ingest.pdf.letters import Letters
from ingest.pdf.tables import TableRow, table_rows
from ingest.pdf.text import origins


def page_rectangles(
    path: Path, page_number: int, start: int, end: int, *, password: str | None = None
) -> list[tuple[float, float, float, float]]:
    """Return where the characters from `start` to `end` of Page.text are on the page, one rectangle a line.

    Each is (left, top, right, bottom) in fractions of the rendered page, origin top left. A file that only pypdf can
    read has no positions: [].
    """
    try:
        with (
            pdfium.opened(path, password, layers.as_shown(path, password, page_number - 1)) as document,
            pdfium.text_page(document, page_number - 1) as (page, text, shown),
        ):
            letters = Letters(text)
            ordered = pdfium.read_text(letters, shown)
            positions = map(ordered.origin, origins(ordered.raw, start, end))
            return pdfium.boxes(page, letters, [position for position in positions if position >= 0])
    except PasswordRequired:
        raise
    except UnreadablePDF:
        return []


def page_tables(path: Path, page_number: int, *, password: str | None = None) -> list[TableRow]:
    """Return the rows with figures of the tables of a page (1-based); [] for a file that only pypdf can read."""
    try:
        with (
            pdfium.opened(path, password, layers.as_shown(path, password, page_number - 1)) as document,
            pdfium.text_page(document, page_number - 1) as (_, text, shown),
        ):
            letters = Letters(text)
            return table_rows(letters, pdfium.read_text(letters, shown))
    except PasswordRequired:
        raise
    except UnreadablePDF:
        return []


def render_page(path: Path, page_number: int, *, scale: float = 2.0, password: str | None = None) -> bytes:
    """Return one page (1-based) as a PNG, `scale` pixels a point; raise UnreadablePDF if PDFium cannot show it."""
    with pdfium.opened(path, password) as document:
        if not 1 <= page_number <= len(document):
            raise UnreadablePDF(f"{path.name} has no page {page_number}", f"it has {len(document)}")
        page = document[page_number - 1]
        try:
            return pdfium.render_png(page, scale)
        finally:
            page.close()

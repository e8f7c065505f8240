"""Makes text from models, people and PDFs safe to show: displayed as written, never interpreted."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from assistant import Citation, Passage, Span
from ingest import TableRow

_MARK = re.compile(r"\[(\d+)\]")
# 55 characters: lines of prose are longer, cells and headings mostly shorter
_BROKEN = re.compile(r"(?<=[^\n]{55}[^\W\d_])\n(?=\w)|(?<=[^\n]{55}[,;-])\n(?=\w)")
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def label(text: str) -> str:
    """Return text escaped for Streamlit's Markdown (labels, captions), in one line.

    Streamlit looks for URLs after it has read the Markdown, so that escaping does not stop them from becoming links:
    a word joiner, which is invisible, separates the characters it looks for.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = re.sub(r"(?i)(www)(?=\.)", "\\1\u2060", line).replace("://", ":\u2060//").replace("@", "\u2060@")
    return _PUNCTUATION.sub(r"\\\1", line)


def plain(text: str, unsupported: Sequence[Span] = ()) -> str:
    """Return text as HTML that shows it as written, with [1] as superscript and unsupported sentences underlined."""
    pieces, position = [], 0
    for span in sorted(unsupported, key=lambda span: span.start):
        if span.start < position:
            continue
        pieces.append(_escaped(text[position : span.start]))
        pieces.append(
            f'<span class="quire-unsupported" title="No passage supports this">{_escaped(text[span.start : span.end])}</span>'
        )
        position = span.end
    pieces.append(_escaped(text[position:]))
    return f'<div class="quire-text" dir="auto">{"".join(pieces)}</div>'


def table(rows: Sequence[TableRow]) -> str:
    """Return rows of a page's tables as an HTML table: labels, column heads and figures as written, and the units."""
    columns: dict[tuple[str, int], None] = {}  # heads from the left; two columns may have one head
    lines: list[dict[tuple[str, int], str]] = []
    for row in rows:
        line: dict[tuple[str, int], str] = {}
        for cell in row.cells:
            line[cell.head, sum(head == cell.head for head, _ in line)] = cell.value
        columns |= dict.fromkeys(line)
        lines.append(line)
    heads = "".join(f"<th>{html.escape(head)}</th>" for head, _ in columns)
    body = "".join(
        f"<tr><th>{html.escape(row.label)}</th>"
        + "".join(f"<td>{html.escape(line.get(column, ''))}</td>" for column in columns)
        + "</tr>"
        for row, line in zip(rows, lines, strict=True)
    )
    units = html.escape("; ".join(dict.fromkeys(row.unit for row in rows if row.unit)))
    return f'<table class="quire-table" dir="auto"><tr><th>{units}</th>{heads}</tr>{body}</table>'


def flowing(text: str) -> str:
    """Return an excerpt with the line breaks inside sentences replaced by spaces.

    Rows of a table are short or end in digits, and keep their line breaks.
    """
    return _BROKEN.sub(" ", text)


def page_words(page: int, page_label: str) -> str:
    """Return a page number in words, with the printed one if it differs."""
    return f"page {page}" if page_label in ("", str(page)) else f"page {page} (printed {page_label})"


def sentence(text: str) -> str:
    """Return text with a capital first letter."""
    return text[:1].upper() + text[1:]


def shortened(text: str, max_characters: int) -> str:
    """Return text in one line, cut between words and with an ellipsis if it is longer than `max_characters`."""
    line = " ".join(text.split())
    return line if len(line) <= max_characters else f"{line[:max_characters].rsplit(' ', 1)[0]} …"


def source_words(source: Citation | Passage) -> str:
    """Return the document and page of a source, and whether OCR read the page."""
    ocr = ", read by OCR" if source.ocr else ""
    return f"{source.document}, {page_words(source.page, source.page_label)}{ocr}"


def size_words(size: int) -> str:
    """Return a number of bytes in kB, MB or GB."""
    if size >= 1_000_000_000:
        return f"{size / 1e9:.1f} GB"
    if size >= 1_000_000:
        return f"{size / 1e6:.1f} MB"
    return f"{max(1, round(size / 1e3))} kB" if size else "0 kB"


def time_words(seconds: float) -> str:
    """Return a duration in s, min or h."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _escaped(text: str) -> str:
    return _MARK.sub(r'<sup class="quire-mark">[\1]</sup>', html.escape(text))

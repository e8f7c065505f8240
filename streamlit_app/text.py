"""Turns texts of models, people and PDFs into what a page may show: as text, whatever is written in them."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from assistant import Passage, Span

_MARK = re.compile(r"\[(\d+)\]")
# 55 characters: lines of prose are longer, cells and headings mostly shorter
_BROKEN = re.compile(r"(?<=[^\n]{55}[^\W\d_])\n(?=\w)|(?<=[^\n]{55}[,;-])\n(?=\w)")
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def label(text: str) -> str:
    """Return a text for where Streamlit reads Markdown (labels, captions), so that it comes out as it is, in one line.

    Streamlit finds web addresses after Markdown was read, so escaping alone would leave them links: a word joiner,
    which has no width, parts the characters they are known by.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = re.sub(r"(?i)(www)(?=\.)", "\\1\u2060", line).replace("://", ":\u2060//").replace("@", "\u2060@")
    return _PUNCTUATION.sub(r"\\\1", line)


def plain(text: str, unsupported: Sequence[Span] = ()) -> str:
    """Return a text as HTML that shows it letter for letter, with [1] small and unsupported sentences underlined."""
    pieces, position = [], 0
    for span in sorted(unsupported, key=lambda span: span.start):
        if span.start < position:
            continue
        pieces.append(_escaped(text[position : span.start]))
        pieces.append(
            f'<span class="quire-unsupported" title="no passage supports this">{_escaped(text[span.start : span.end])}</span>'
        )
        position = span.end
    pieces.append(_escaped(text[position:]))
    return f'<div class="quire-text" dir="auto">{"".join(pieces)}</div>'


def flowing(text: str) -> str:
    """Return an excerpt whose prose flows: a long line that ends in the middle of a sentence goes on in the next.

    Rows of a table end in figures or are short, and stay rows. No letter moves: a line end becomes a blank.
    """
    return _BROKEN.sub(" ", text)


def page_words(page: int, page_label: str) -> str:
    """Return a page as people read it: with its printed label where that differs from its place in the file."""
    return f"page {page}" if page_label in ("", str(page)) else f"page {page} (printed {page_label})"


def sentence(text: str) -> str:
    """Return a notice with a capital first letter, as it stands behind a full stop."""
    return text[:1].upper() + text[1:]


def shortened(text: str, most: int) -> str:
    """Return a text in one line of at most so many characters, cut between words with an ellipsis behind."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most].rsplit(' ', 1)[0]} …"


def source_words(passage: Passage) -> str:
    """Return where a passage stands."""
    return f"{passage.document}, {page_words(passage.page, passage.page_label)}"


def size_words(size: int) -> str:
    """Return a number of bytes as people read it."""
    if size >= 1_000_000_000:
        return f"{size / 1e9:.1f} GB"
    if size >= 1_000_000:
        return f"{size / 1e6:.1f} MB"
    return f"{max(1, round(size / 1e3))} kB" if size else "0 kB"


def time_words(seconds: float) -> str:
    """Return a stretch of time as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _escaped(text: str) -> str:
    return _MARK.sub(r'<sup class="quire-mark">[\1]</sup>', html.escape(text))

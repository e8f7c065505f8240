"""Which lines of a text are rows of a table."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\d[\d,.]*\d|\d")
_WORD = re.compile(r"[^\W\d_]+")
_YEAR = re.compile(r"(?:19|20)\d\d")
_NOT_A_FIGURE = re.compile(
    r"^\s*\(?\d+(?:\.\d+)*[.)]?\s+(?=[^\W\d])|\b\d{1,2}, (?:19|20)\d\d\b"
)  # an item's number, a date


def is_table_row(line: str) -> bool:
    """Return whether a line reads like a row of a table: two numbers or more that are not all years, and little prose."""
    if len(_NUMBER.findall(line)) < 2:
        return False  # most lines, and in half of the time
    figures = _NUMBER.findall(_NOT_A_FIGURE.sub("", line))
    if len(figures) < 2 or all(map(_YEAR.fullmatch, figures)) or line.rstrip().endswith("."):
        return False
    return len(_WORD.findall(line)) <= 3 * len(figures) + 8


def table_share(text: str) -> float:
    """Return the share of a text's lines that are table rows, 0 to 1."""
    lines = [line for line in text.splitlines() if line.strip()]
    return sum(map(is_table_row, lines)) / len(lines) if lines else 0.0

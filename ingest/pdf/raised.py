"""Tells raised digits and letters (footnote marks, exponents) from the line they stand in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from math import hypot

from ingest.pdf.letters import Letters
from ingest.pdf.text import HYPHEN

DROPPED = "\uffff"  # a character that normalizing leaves out; it keeps the positions of all others
_RAISED = str.maketrans("0123456789abcdefghn-−–", "⁰¹²³⁴⁵⁶⁷⁸⁹ᵃᵇᶜᵈᵉᶠᵍʰⁿ⁻⁻⁻")
RAISED_DIGITS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_FROM_DIGIT = re.compile(rf"[0-9][^\s{HYPHEN}]*")  # the rest of a word from its first digit on
_MARK = re.compile(r"(?:(?<=\w)[-−–])?[0-9]+|(?<=[0-9])[a-hn](?![^\W_])")  # a letter behind an amount: "1,204a"
_SCALED = 1.5  # points; programs that write type of size 1 scale it
_SMALLER = 0.86  # of the size beside it; usual marks have 0.58 to 0.7
_LOWEST, _HIGHEST = 0.12, 0.9  # how far a mark is raised, in sizes of what it stands beside
_SAME_LINE = 0.1  # in sizes; baselines farther apart are of two lines
_LONGEST_MARK = 3  # digits
_CLOSING = frozenset(".,;:)]")


def with_raised_digits(letters: Letters) -> str:
    """Return the raw text of a page, as long as it was, with raised digits as superscripts: "$320¹", "10⁶".

    A line break that PDFium puts behind a mark within a line is dropped.
    """
    raw = letters.raw
    size = partial(_size, letters)
    shown: list[str] | None = None
    for match in _FROM_DIGIT.finditer(raw):
        start, end = match.span()
        while start and raw[start - 1] != HYPHEN and not raw[start - 1].isspace():
            start -= 1
        last = end - 1
        while last > start and raw[last] in _CLOSING:
            last -= 1
        # one comparison is enough for nearly all words, for speed: within a line the type has one size
        base = start
        if raw[start - 2 : start] == "\r\n" and raw[start].isdigit() and size(start) < _SMALLER * size(start - 3):
            base = start - 3  # PDFium may break the line before a mark
        elif last == start or size(start) == size(last):
            continue
        elif raw[start].isdigit() and size(start) < _SMALLER * size(last):
            base = last  # a mark before its word: "1Subject to approval"
        for low, high in _marks(letters, raw, start, end, base):
            shown = shown or list(raw)
            shown[low:high] = raw[low:high].translate(_RAISED)
            if base == low - 3 and raw[low - 2 : low] == "\r\n":
                shown[low - 2 : low] = [DROPPED, DROPPED]
            if raw[high : high + 2] == "\r\n" and _rises(letters, high + 2, base, -_SAME_LINE, _SAME_LINE):
                shown[high : high + 2] = [" " if raw[high + 2].isalnum() else DROPPED, DROPPED]
    return "".join(shown) if shown else raw


def _marks(letters: Letters, raw: str, start: int, end: int, base: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each run of digits, or letter behind digits, that is raised from the character at `base`."""
    for run in _MARK.finditer(raw, start, end):
        raised = [
            at for at in range(*run.span()) if at != base and _rises(letters, at, base, _LOWEST, _HIGHEST, _SMALLER)
        ]
        if raised and not raw[raised[-1]].isalnum():
            continue  # a dash between two numbers
        if raised and len(raised) <= _LONGEST_MARK and raised == list(range(raised[0], raised[-1] + 1)):
            yield raised[0], raised[-1] + 1


def _size(letters: Letters, at: int) -> float:
    """Return the size of a character in points; that of a scaled page is left out where it cannot matter."""
    size = letters.size(at)
    if size > _SCALED or not (matrix := letters.matrix(at)):
        return size
    return size * hypot(*matrix[2:])


def _rises(letters: Letters, at: int, base: int, lowest: float, highest: float, smaller: float = 9.0) -> bool:
    """Return whether a character stands `lowest` to `highest` sizes of `base` above its baseline, and is smaller."""
    matrix, beside = letters.matrix(at), letters.matrix(base)
    if not matrix or not beside:
        return False
    across, up = beside[2:]
    length = hypot(across, up)
    size = letters.size(base) * length
    if not size or letters.size(at) * hypot(*matrix[2:]) > smaller * size:
        return False
    place, other = letters.origin(at), letters.origin(base)
    if not place or not other:
        return False
    rise = ((place[0] - other[0]) * across + (place[1] - other[1]) * up) / length
    return lowest <= rise / size <= highest

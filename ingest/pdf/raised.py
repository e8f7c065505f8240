"""Tells raised digits and letters (footnote marks, exponents) from the line they stand in."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

DROPPED = "\uffff"  # a character that normalizing leaves out; it keeps the positions of all others
_RAISED = str.maketrans("0123456789abcdefghn-−–", "⁰¹²³⁴⁵⁶⁷⁸⁹ᵃᵇᶜᵈᵉᶠᵍʰⁿ⁻⁻⁻")
RAISED_DIGITS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_WORD_WITH_DIGIT = re.compile(r"(?<![^\s\ufffe])[^\s\ufffe0-9]*[0-9][^\s\ufffe]*")
_MARK = re.compile(r"(?:(?<=\w)[-−–])?[0-9]+|(?<=[0-9])[a-hn](?![^\W_])")  # a letter behind an amount: "1,204a"
_SCALED = 1.5  # points; programs that write type of size 1 scale it
_SMALLER = 0.86  # of the size beside it; usual marks have 0.58 to 0.7
_LOWEST, _HIGHEST = 0.12, 0.9  # how far a mark is raised, in sizes of what it stands beside
_SAME_LINE = 0.1  # in sizes; baselines farther apart are of two lines
_LONGEST_MARK = 3  # digits
_CLOSING = frozenset(".,;:)]")


def with_raised_digits(text: Any, raw: str) -> str:
    """Return the raw text of a page, as long as it was, with raised digits as superscripts: "$320¹", "10⁶".

    A line break that PDFium puts behind a mark within a line is dropped.
    """
    letters = _Letters(text, raw)
    size = letters.size
    shown: list[str] | None = None
    for match in _WORD_WITH_DIGIT.finditer(raw):
        start, end = match.span()
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
            if raw[high : high + 2] == "\r\n" and letters.rise(high + 2, base, -_SAME_LINE, _SAME_LINE):
                shown[high : high + 2] = [" " if raw[high + 2].isalnum() else DROPPED, DROPPED]
    return "".join(shown) if shown else raw


def _marks(letters: _Letters, raw: str, start: int, end: int, base: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each run of digits, or letter behind digits, that is raised from the character at `base`."""
    for run in _MARK.finditer(raw, start, end):
        raised = [at for at in range(*run.span()) if at != base and letters.rise(at, base, _LOWEST, _HIGHEST, _SMALLER)]
        if raised and not raw[raised[-1]].isalnum():
            continue  # a dash between two numbers
        if raised and len(raised) <= _LONGEST_MARK and raised == list(range(raised[0], raised[-1] + 1)):
            yield raised[0], raised[-1] + 1


class _Letters:
    """Sizes and baselines of the characters of a page, by their position in the raw text."""

    def __init__(self, text: Any, raw: str) -> None:
        import pypdfium2.raw as pdfium

        self._pdfium = pdfium
        self._text = text
        self._size: Callable[[Any, int], float] = pdfium.FPDFText_GetFontSize
        self._index: Callable[[int], int] = int
        self._matrix = pdfium.FS_MATRIX()
        if pdfium.FPDFText_CountChars(text) != len(raw):
            self._index = partial(pdfium.FPDFText_GetCharIndexFromTextIndex, text)

    def size(self, at: int) -> float:
        """Return the size of a character in points; that of a scaled page is left out where it cannot matter."""
        index = self._index(at)
        size = self._size(self._text, index)
        if size > _SCALED or not self._pdfium.FPDFText_GetMatrix(self._text, index, self._matrix):
            return size
        return float(size * (self._matrix.c**2 + self._matrix.d**2) ** 0.5)

    def rise(self, at: int, base: int, lowest: float, highest: float, smaller: float = 9.0) -> bool:
        """Return whether a character stands `lowest` to `highest` sizes of `base` above its baseline, and is smaller."""
        import pypdfium2.raw as pdfium

        matrix = self._matrix
        index, beside = self._index(at), self._index(base)
        if not pdfium.FPDFText_GetMatrix(self._text, beside, matrix):
            return False
        length = (matrix.c**2 + matrix.d**2) ** 0.5
        size = self._size(self._text, beside) * length
        across, up = matrix.c, matrix.d
        if not size or not pdfium.FPDFText_GetMatrix(self._text, index, matrix):
            return False
        if self._size(self._text, index) * (matrix.c**2 + matrix.d**2) ** 0.5 > smaller * size:
            return False
        places = [ctypes.c_double() for _ in range(4)]
        for number, of in ((0, index), (2, beside)):
            if not pdfium.FPDFText_GetCharOrigin(self._text, of, places[number], places[number + 1]):
                return False
        right, above = places[0].value - places[2].value, places[1].value - places[3].value
        return bool(lowest <= (right * across + above * up) / length / size <= highest)

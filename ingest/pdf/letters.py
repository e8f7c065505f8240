"""The characters of a page as PDFium has them: the text, and type and place of each character."""

from __future__ import annotations

import ctypes
import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import cache
from typing import Any
from unicodedata import combining

RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_SEVERAL = re.compile(f"{RIGHT_TO_LEFT.pattern}{{2,}}")
_WIDE = re.compile("[\U00010000-\U0010ffff]")
_BOLD_NAMES = (b"bold", b"black", b"heavy")
_BOLD_FLAG = 1 << 18
_LONGEST_NAME = 128  # bytes of a font's name

Point = tuple[float, float]


class Letters:
    """Looks up characters of a page by their position in `raw`, its text in the order of the file.

    Thousands are looked up on a page, so PDFium's functions are called without the checks of their arguments that
    pypdfium2 declares: that takes a third of the time.
    """

    def __init__(self, text: Any) -> None:
        self.raw = characters(text)
        self._page = ctypes.cast(text.raw, ctypes.c_void_p)
        call = _calls()
        self._get_size = call["FPDFText_GetFontSize"]
        self._get_matrix = call["FPDFText_GetMatrix"]
        self._get_origin = call["FPDFText_GetCharOrigin"]
        self._get_box = call["FPDFText_GetCharBox"]
        self._get_color = call["FPDFText_GetFillColor"]
        self._get_object = call["FPDFText_GetTextObject"]
        self._get_font = call["FPDFTextObj_GetFont"]
        self._get_mode = call["FPDFTextObj_GetTextRenderMode"]
        self._get_index = call["FPDFText_GetCharIndexFromTextIndex"]
        self._has_error = call["FPDFText_HasUnicodeMapError"]
        self.text = text
        self.count = call["FPDFText_CountChars"](self._page)  # with those that have no known character
        # PDFium counts a character beyond U+FFFF twice
        self._wide = [] if self.raw.isascii() else [match.start() for match in _WIDE.finditer(self.raw)]
        self._has_all = self.count == len(self.raw) + len(self._wide)
        self._is_exact = self.count == len(self.raw)
        self._numbers = (ctypes.c_double * 4)()
        self._to = [ctypes.byref(self._numbers, 8 * n) for n in range(4)]
        self._matrix = (ctypes.c_float * 6)()
        self._to_matrix = ctypes.byref(self._matrix)
        self._color = (ctypes.c_uint * 4)()
        self._to_color = [ctypes.byref(self._color, 4 * n) for n in range(4)]
        self._fonts: dict[int | None, bool] = {}

    def index(self, at: int) -> int:
        """Return the number of a character among all of the page, those without a known character included."""
        if self._wide and at >= 0:
            at += bisect_left(self._wide, at)
        return at if self._has_all else int(self._get_index(self._page, at))

    def size(self, at: int) -> float:
        """Return the size of the type without the scaling of the page."""
        return float(self._get_size(self._page, at if self._is_exact else self.index(at)))

    def matrix(self, at: int) -> tuple[float, float, float, float] | None:
        """Return how the page scales and turns a character, as the first four numbers of its matrix."""
        if not self._get_matrix(self._page, at if self._is_exact else self.index(at), self._to_matrix):
            return None
        a, b, c, d, _, _ = self._matrix
        return a, b, c, d

    def origin(self, at: int) -> Point | None:
        """Return the left end of a character's baseline in points of the page."""
        if not self._get_origin(self._page, at if self._is_exact else self.index(at), *self._to[:2]):
            return None
        numbers = self._numbers
        return numbers[0], numbers[1]

    def box(self, at: int) -> tuple[float, float, float, float] | None:
        """Return left, right, bottom and top of a character's ink in points of the page."""
        if not self._get_box(self._page, at if self._is_exact else self.index(at), *self._to):
            return None
        left, right, bottom, top = self._numbers
        return left, right, bottom, top

    def is_clear(self, at: int) -> bool:
        """Return whether a character is filled with a color that cannot be seen."""
        import pypdfium2.raw as pdfium

        index = self.index(at)
        if not self._get_color(self._page, index, *self._to_color) or self._color[3]:
            return False
        item = ctypes.c_void_p(self._get_object(self._page, index))
        return bool(self._get_mode(item) == pdfium.FPDF_TEXTRENDERMODE_FILL)

    def is_undecoded(self, index: int) -> bool:
        """Return whether the font does not say which character it draws, by the number that `index` returns."""
        return bool(self._has_error(self._page, index) == 1)

    def is_bold(self, at: int) -> bool:
        """Return whether a character has a bold font, by its name or its flags."""
        index = self.index(at)
        item = self._get_object(self._page, index)
        font = self._get_font(ctypes.c_void_p(item)) if item else None
        if font not in self._fonts:
            self._fonts[font] = _has_bold_font(self.text, index)
        return self._fonts[font]


def in_logical_order(letters: Letters, raw: str) -> str:
    """Return the text of a page, as long as it was, with right-to-left letters of one glyph in the order of speech.

    PDFium turns a line that is drawn from the left, and with it the letters that one glyph stands for, such as lam-alef.
    """
    if raw.isascii() or not RIGHT_TO_LEFT.search(raw):
        return raw
    shown = list(raw)
    for word in _SEVERAL.finditer(raw):
        for start, end in _glyphs(letters, *word.span()):
            if sum(not combining(c) for c in raw[start:end]) > 1:  # a mark over a letter stands behind it already
                shown[start:end] = raw[start:end][::-1]
    return "".join(shown)


def _glyphs(letters: Letters, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of the characters that have one place."""
    places = [letters.origin(at) for at in range(start, end)]
    first = 0
    for at in range(1, len(places) + 1):
        if at == len(places) or places[at] != places[first] or places[at] is None:
            yield start + first, start + at
            first = at


def characters(text: Any) -> str:
    """Return all characters in the order of the file."""
    import pypdfium2.raw as pdfium

    count = pdfium.FPDFText_CountChars(text)
    if count <= 0:
        return ""
    # both ends of the range for FPDFText_GetText must have a Unicode value
    first, last = 0, count - 1
    while first < last and pdfium.FPDFText_GetTextIndexFromCharIndex(text, first) < 0:
        first += 1
    while last >= first and pdfium.FPDFText_GetTextIndexFromCharIndex(text, last) < 0:
        last -= 1
    if last < first:
        return ""
    units = pdfium.FPDFText_GetTextIndexFromCharIndex(text, last) + 2
    buffer = (ctypes.c_ushort * units)()
    written = pdfium.FPDFText_GetText(text, first, last - first + 1, buffer)
    # surrogatepass: without a lone surrogate all later positions would shift
    return bytes(memoryview(buffer).cast("B")[: max(0, written - 1) * 2]).decode("utf-16-le", "surrogatepass")


def _has_bold_font(text: Any, index: int) -> bool:
    import pypdfium2.raw as pdfium

    name = ctypes.create_string_buffer(_LONGEST_NAME)
    flags = ctypes.c_int()
    length = pdfium.FPDFText_GetFontInfo(text, index, name, _LONGEST_NAME, flags)
    lowered = name.value.lower() if 0 < length <= _LONGEST_NAME else b""
    return any(word in lowered for word in _BOLD_NAMES) or bool(flags.value & _BOLD_FLAG)


@cache
def _calls() -> dict[str, Any]:
    """Return PDFium's functions by name, as ctypes calls them fastest: their arguments must have the right types."""
    import pypdfium2.raw as pdfium

    returned: dict[str, Any] = {
        "FPDFText_CountChars": ctypes.c_int,
        "FPDFText_GetCharBox": ctypes.c_int,
        "FPDFText_GetCharIndexFromTextIndex": ctypes.c_int,
        "FPDFText_GetCharOrigin": ctypes.c_int,
        "FPDFText_GetFillColor": ctypes.c_int,
        "FPDFText_GetFontSize": ctypes.c_double,
        "FPDFText_GetMatrix": ctypes.c_int,
        "FPDFText_HasUnicodeMapError": ctypes.c_int,
        "FPDFText_GetTextObject": ctypes.c_void_p,
        "FPDFTextObj_GetFont": ctypes.c_void_p,
        "FPDFTextObj_GetTextRenderMode": ctypes.c_int,
    }
    return {
        name: ctypes.PYFUNCTYPE(kind)(ctypes.cast(getattr(pdfium, name), ctypes.c_void_p).value or 0)
        for name, kind in returned.items()
    }

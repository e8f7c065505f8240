"""Judges whether a page is text, a scan, letters that cannot be decoded, or blank."""

from __future__ import annotations

import ctypes
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ingest.pdf.annotations import Box
from ingest.pdf.letters import Letters

PageKind = Literal["text", "scanned", "garbled", "blank"]

_SAMPLE = 32  # characters whose decoding is looked up
_UNDECODED_SHARE = 0.3  # of the characters; bullets and formulas of readable pages stay far below
# letters of a script, its most frequent ones, and the share of them that text of every language has at least:
# the eight of Latin are 50 to 68 % in European languages and 31 % of random letters
_SCRIPTS = (
    (re.compile("[a-z]"), "eainrsto", 0.4),
    (re.compile("[\u03b1-\u03c9]"), "αοιετσνη", 0.45),
    (re.compile("[\u0430-\u04ff]"), "оаеинтср", 0.33),
    (re.compile("[\u05d0-\u05ea]"), "יוהלארתב", 0.45),
    (re.compile("[\u0621-\u06d3]"), "اليمورنتی", 0.35),
    (
        re.compile("[\u4e00-\u9fff]"),
        "的一是不了在人有我他这這中大来來上国國和年月日会會公司本市业業时時到地出生分成方可用三二十部同及其新金者工",
        0.005,
    ),
)
_MAX_ACCENTED = 0.7  # of Latin letters; Vietnamese has about 0.35
_MAX_ONE_LETTER = 0.4  # of the letters; the most frequent one of any language has below 0.2
_JUDGED = 2_000  # characters of a page
_MIN_LETTERS = 120  # in words of four letters; below, codes and names decide
_MIN_WORDS = 8  # different ones; a list may repeat a few codes
_WORD = re.compile(r"(?<!\w)[^\W\d_]{4,}(?!\w)")
_WORD_CHARACTER = re.compile(r"\w")
_UNKNOWN = re.compile("[\ue000-\uf8ff\ufffd]")  # private use, and what stands for an unknown character
_STAMP = 100  # letters and digits that a stamp on a scan has at most, running headers aside
_MIN_PICTURE = 0.6  # of the page
_MIN_PAPER = 0.45  # of a scan's pixels are paper, of one brightness; photographs have less
_INK = 20  # levels of gray, of 256, that ink is darker than paper
_MIN_INK = 0.001  # of the pixels; a short line of text on an empty page has about as many
_LETTERHEAD = 0.12  # of the height
_MARGIN = 0.12  # of width and height
_MIN_PATHS = 100  # a page without text but with so many paths probably has text drawn as curves


@dataclass(frozen=True)
class Evidence:
    """What a page shows besides its text: letters without a known character, and a picture of a page."""

    undecoded: bool = False
    is_picture: bool = False  # a picture of a sheet of paper covers the page, with ink beside the text
    in_margins: bool = False  # all text stands along the edges of the page, as stamps do
    shows_something: bool = False  # a picture, letters without a character, or text drawn as curves


NOTHING = Evidence()


def judge(text: str, evidence: Evidence, running_lines: tuple[tuple[int, int], ...] = ()) -> PageKind:
    """Return the kind of a page from its normalized text and what else it shows."""
    if not text.strip():
        return "scanned" if evidence.shows_something else "blank"
    if evidence.undecoded or not is_plausible(text):
        return "garbled"
    own = text
    for start, end in sorted(running_lines, reverse=True):
        own = own[:start] + own[end:]
    if evidence.is_picture and (evidence.in_margins or sum(c.isalnum() for c in own) < _STAMP):
        return "scanned"
    return "text"


def is_plausible(text: str) -> bool:
    """Return whether the letters of a text occur as in a language; True where there are too few to decide."""
    if len(text) >= _MIN_LETTERS and not _WORD_CHARACTER.search(text):
        return bool(
            sum(unicodedata.category(c)[0] == "S" for c in text) * 2 < len(text)
        )  # lines of dots are no symbols
    listed = _WORD.findall(text[:_JUDGED])
    words = "".join(listed).casefold()
    if len(words) < _MIN_LETTERS:
        return True
    total, accented = len(words), 0
    if not words.isascii():
        accented = sum(not c.isascii() for c in words)
        words = unicodedata.normalize("NFD", words)  # an accent counts for nothing
    counts = Counter(words)
    for letters, frequent, share in _SCRIPTS:
        found = {letter: count for letter, count in counts.items() if letters.match(letter)}
        number = sum(found.values())
        if number < max(_MIN_LETTERS, total / 2):
            continue
        if max(found.values()) > _MAX_ONE_LETTER * number:
            return False
        return len(set(listed)) < _MIN_WORDS or (
            sum(counts[letter] for letter in frequent) >= share * number
            and (letters is not _SCRIPTS[0][0] or accented <= _MAX_ACCENTED * number)
        )
    return True  # another script


def look(page: Any, letters: Letters, raw: str) -> Evidence:
    """Return what a page shows; only a page with little text is searched for pictures, which takes time."""
    little = len(raw) < 8 * _STAMP  # with the blanks of a stamp, and several lines of it
    is_picture = little and _picture_share(page) >= _MIN_PICTURE and _is_paper_with_ink(page, letters.text)
    return Evidence(
        undecoded=bool(raw.strip()) and _undecoded_share(letters, raw) >= _UNDECODED_SHARE,
        is_picture=is_picture,
        in_margins=is_picture and not any(_is_inside(page, box) for box in _text_boxes(letters.text)),
        shows_something=little and shows_something(page),
    )


def _undecoded_share(letters: Letters, raw: str) -> float:
    unknown = len(_UNKNOWN.findall(raw)) / len(raw)
    sample = range(0, letters.count, max(1, letters.count // _SAMPLE))
    failed = sum(map(letters.is_undecoded, sample))
    return max(unknown, failed / len(sample) if sample else 0.0)


def _picture_share(page: Any) -> float:
    """Return the share of the page that its pictures cover, overlaps counted twice, at most 1."""
    import pypdfium2.raw as pdfium

    width, height = page.get_size()
    area = 0.0
    for item in page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=4):
        box, form = item.get_bounds(), item.container
        while form:
            box, form = form.get_matrix().on_rect(*box), form.container
        left, bottom, right, top = box
        area += max(0.0, min(right, width) - max(left, 0.0)) * max(0.0, min(top, height) - max(bottom, 0.0))
    return min(1.0, float(area / max(1.0, width * height)))


def _text_boxes(text: Any) -> Iterator[Box]:
    import pypdfium2.raw as pdfium

    sides = [ctypes.c_double() for _ in range(4)]
    for number in range(pdfium.FPDFText_CountRects(text, 0, -1)):
        if pdfium.FPDFText_GetRect(text, number, *sides):
            left, top, right, bottom = (side.value for side in sides)
            yield left, bottom, right, top


def _is_inside(page: Any, box: Box) -> bool:
    """Return whether the middle of a box is not in the margins of the page."""
    left, bottom, right, top = page.get_bbox()
    across = ((box[0] + box[2]) / 2 - left) / max(1.0, right - left)
    up = ((box[1] + box[3]) / 2 - bottom) / max(1.0, top - bottom)
    return bool(_MARGIN < across < 1 - _MARGIN and _MARGIN < up < 1 - _MARGIN)


def _is_paper_with_ink(page: Any, text: Any) -> bool:
    """Return whether most of a page has one brightness, as paper has and a photograph has not, and some is darker.

    Ink under the page's own text, in the letterhead above it and at the foot of the page does not count.
    """
    import numpy as np

    scale = 150 / max(*page.get_size(), 1.0)
    bitmap = page.render(scale=scale, grayscale=True)
    try:
        pixels = bitmap.to_numpy().reshape(bitmap.height, -1).astype(np.int16)
        place = bitmap.get_posconv(page)
        counts = np.histogram(pixels, bins=16, range=(0, 256))[0]
        if (counts[:-1] + counts[1:]).max() < _MIN_PAPER * counts.sum():
            return False
        ink = pixels < (counts.argmax() + 0.5) * 16 - _INK
        for left, bottom, right, top in _text_boxes(text):
            corners = place.to_bitmap(left, bottom), place.to_bitmap(right, top)
            (low, high), (first, last) = (sorted(axis) for axis in zip(*corners, strict=True))
            ink[max(0, first - 1) : max(0, last + 2), max(0, low - 1) : max(0, high + 2)] = False
    finally:
        bitmap.close()
    height, width = ink.shape
    middle = ink[int(_LETTERHEAD * height) : int((1 - _MARGIN) * height), int(width * 0.05) : int(width * 0.95)]
    return bool(middle.mean() >= _MIN_INK)


def shows_something(page: Any) -> bool:
    """Return whether a page without text shows an image, letters that cannot be decoded, or text drawn as curves."""
    import pypdfium2.raw as pdfium

    paths = 0
    for item in page.get_objects(max_depth=4):
        if item.type in (pdfium.FPDF_PAGEOBJ_IMAGE, pdfium.FPDF_PAGEOBJ_TEXT):
            return True
        paths += item.type == pdfium.FPDF_PAGEOBJ_PATH
        if paths >= _MIN_PATHS:
            return True
    return False

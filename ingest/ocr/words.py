"""Recognized words with their places, and the order in which a person reads them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

_SAME_ROW = 0.5  # of the lower of two heights; boxes that overlap by more stand in one row
_PROSE_LETTERS = 20  # letters that a line of a text column has at least
_PROSE_SHARE = 0.7  # of its characters
_COLUMN_LINES = 4  # lines of prose that each of two columns has at least
_ABOUT = 1.3  # heights that differ by less are of one type size
_FREE = 0.9  # of the distance of two rows: the most that a word's height is
_FILLED = 0.7  # of the widest line: the usual line of a text column; cells of a table are ragged


@dataclass(frozen=True)
class Word:
    """One word: its box upright, in pixels of the picture that was read, origin top left."""

    text: str
    left: float
    top: float
    right: float
    bottom: float
    confidence: float  # 0 to 1


@dataclass(frozen=True)
class Piece:
    """Words that an engine read together: a line of text, or a cell of a table."""

    words: tuple[Word, ...]


def confidence(pieces: Sequence[Piece]) -> float:
    """Return the mean confidence of all characters, 0 for no text."""
    weights = [(len(word.text), word.confidence) for piece in pieces for word in piece.words]
    total = sum(count for count, _ in weights)
    return sum(count * sure for count, sure in weights) / total if total else 0.0


def in_reading_order(pieces: Sequence[Piece]) -> list[tuple[Word, ...]]:
    """Return the rows of a level page, each left to right: a row of a table is one, columns of prose are not mixed."""
    boxes = [_Box.around(piece) for piece in pieces if piece.words]
    return [tuple(word for box in row for word in box.piece.words) for row in _ordered(boxes)]


def turn_needed(pieces: Sequence[Piece]) -> int:
    """Return the degrees clockwise that set a page upright whose lines were read running up (90) or down (270)."""
    down = up = across = 0
    for piece in pieces:
        first, last = piece.words[0], piece.words[-1]
        right = last.left + last.right - first.left - first.right
        fall = last.top + last.bottom - first.top - first.bottom
        across += (abs(right) > abs(fall)) * len(piece.words)
        down += (fall > abs(right)) * len(piece.words)
        up += (-fall > abs(right)) * len(piece.words)
    return 0 if across >= max(up, down) else 90 if up > down else 270


def turned(pieces: Sequence[Piece], degrees: int, width: float, height: float) -> list[Piece]:
    """Return pieces of a picture of this size as they are once it is turned clockwise by 90 or 270 degrees."""

    def turn(word: Word) -> Word:
        if degrees == 90:
            return replace(word, left=height - word.bottom, top=word.left, right=height - word.top, bottom=word.right)
        return replace(word, left=word.top, top=width - word.right, right=word.bottom, bottom=width - word.left)

    return [Piece(tuple(turn(word) for word in piece.words)) for piece in pieces]


def slope(pieces: Sequence[Piece]) -> float:
    """Return how far the lines of a page fall, in pixels down a pixel to the right: the median of its longer pieces."""
    found = []
    for piece in pieces:
        if len(piece.words) < 3:
            continue
        first, last = piece.words[0], piece.words[-1]
        run = (last.left + last.right - first.left - first.right) / 2
        if run > 0:
            found.append((last.top + last.bottom - first.top - first.bottom) / 2 / run)
    return median(found) if found else 0.0


@dataclass(frozen=True)
class _Box:
    """A piece with its box."""

    piece: Piece
    left: float
    top: float
    right: float
    bottom: float
    is_prose: bool

    @classmethod
    def around(cls, piece: Piece) -> _Box:
        letters = sum(c.isalpha() for word in piece.words for c in word.text)
        characters = sum(len(word.text) for word in piece.words)
        return cls(
            piece,
            min(word.left for word in piece.words),
            median(word.top for word in piece.words),
            max(word.right for word in piece.words),
            median(word.bottom for word in piece.words),
            letters >= max(_PROSE_LETTERS, _PROSE_SHARE * characters),
        )


def _ordered(boxes: list[_Box]) -> list[list[_Box]]:
    gutter = _gutter(boxes)
    if gutter is None:
        return _rows(boxes)
    found: list[list[_Box]] = []
    waiting: list[_Box] = []  # what is not in columns; a long label over the gutter must not part the rows of a table
    for band in _bands(boxes, gutter):
        left = [box for box in band if box.right <= gutter]
        right = [box for box in band if box.left >= gutter]
        if _are_columns(left, right):
            found += _rows(waiting) + _ordered(left) + _ordered(right)
            waiting = []
        else:
            waiting += band
    return found + _rows(waiting)


def _gutter(boxes: list[_Box]) -> float | None:
    """Return the place between two columns of prose, None if the page has no such columns."""
    prose = [box for box in boxes if box.is_prose]
    best, most = None, 0
    for start in {box.left for box in prose}:
        left = [box for box in boxes if box.right <= start]
        right = [box for box in boxes if box.left >= start]
        count = min(sum(box.is_prose for box in left), sum(box.is_prose for box in right))
        if count > most and _are_columns(left, right):
            best, most = start, count
    return best


def _are_columns(left: list[_Box], right: list[_Box]) -> bool:
    for side in (left, right):
        widths = [box.right - box.left for box in side if box.is_prose]
        if len(widths) < _COLUMN_LINES or median(widths) < _FILLED * max(widths):
            return False
    heights = [(min(box.top for box in side), max(box.bottom for box in side)) for side in (left, right)]
    return min(low for _, low in heights) > max(high for high, _ in heights)


def _bands(boxes: list[_Box], gutter: float) -> list[list[_Box]]:
    """Return the parts of a page, top down, divided by what reaches over the gutter."""
    bands: list[list[_Box]] = [[]]
    for box in sorted(boxes, key=lambda box: box.top + box.bottom):
        if box.left < gutter < box.right:
            bands += [[box], []]
        else:
            bands[-1].append(box)
    return [band for band in bands if band]


def _rows(boxes: list[_Box]) -> list[list[_Box]]:
    rows: list[list[_Box]] = []
    for box in sorted(boxes, key=lambda box: box.top + box.bottom):
        if rows and any(_beside(box, other) for other in rows[-1]):
            rows[-1].append(box)
        else:
            rows.append([box])
    return [sorted(row, key=lambda box: box.left) for row in rows]


def _beside(box: _Box, other: _Box) -> bool:
    overlap = min(box.bottom, other.bottom) - max(box.top, other.top)
    return overlap > _SAME_ROW * min(box.bottom - box.top, other.bottom - other.top)


def evened(pieces: Sequence[Piece]) -> list[Piece]:
    """Return the pieces with one height for all words of about the usual height: boxes around letters differ a little.

    Without it, every second line would be taken for a heading in larger type.
    """
    heights = [word.bottom - word.top for piece in pieces for word in piece.words]
    usual = median(heights) if heights else 0.0

    def even(word: Word) -> Word:
        if not usual / _ABOUT <= word.bottom - word.top <= usual * _ABOUT:
            return word
        middle = (word.top + word.bottom) / 2
        return replace(word, top=middle - usual / 2, bottom=middle + usual / 2)

    return [Piece(tuple(even(word) for word in piece.words)) for piece in pieces]


def in_lines(rows: Sequence[tuple[Word, ...]]) -> list[tuple[Word, ...]]:
    """Return rows whose words have one middle, and boxes that do not reach into the row above or below.

    Readers of PDFs, PDFium too, take words that overlap in height for words of one line.
    """
    if not rows:
        return []
    middles = [median((word.top + word.bottom) / 2 for word in row) for row in rows]
    steps = [abs(below - above) for above, below in itertools.pairwise(middles)]
    leveled = []
    for row, middle, above, below in zip(rows, middles, [0.0, *steps], [*steps, 0.0], strict=True):
        height = median(word.bottom - word.top for word in row)
        near = [step for step in (above, below) if step > _SAME_ROW * height]
        most = min([_FREE * step for step in near], default=height)
        leveled.append(tuple(_on_middle(word, middle, height, most) for word in row))
    return leveled


def _on_middle(word: Word, middle: float, usual: float, most: float) -> Word:
    high = word.bottom - word.top
    if high > usual * _ABOUT:  # a letter over two lines
        return word
    high = min(high, most)
    return replace(word, top=middle - high / 2, bottom=middle + high / 2)


def split_line(text: str, box: tuple[float, float, float, float], sure: float) -> Piece:
    """Return the words of a line whose places are not known, by their numbers of characters."""
    left, top, right, bottom = box
    step = (right - left) / max(1, len(text))
    words, at = [], 0
    for token in text.split():
        at = text.index(token, at)
        words.append(Word(token, left + at * step, top, left + (at + len(token)) * step, bottom, sure))
        at += len(token)
    return Piece(tuple(words))


def upright(quad: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """Return a box of a quadrilateral's center, width and height: a slightly turned word, put upright."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = quad
    width, height = math.hypot(bx - ax, by - ay), math.hypot(dx - ax, dy - ay)
    x, y = (ax + bx + cx + dx) / 4, (ay + by + cy + dy) / 4
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2

"""The pieces of lines that a page is written in, with their places, in the order of the file."""

from __future__ import annotations

import re
from math import hypot
from statistics import median
from typing import NamedTuple

from ingest.pdf.annotations import Box
from ingest.pdf.letters import Letters, Point
from ingest.pdf.text import HYPHEN

_PIECE = re.compile(rf"[^\s{HYPHEN}](?:[^\r\n{HYPHEN}]*[^\s{HYPHEN}])?{HYPHEN}?|{HYPHEN}")
_CAPITAL_HEIGHT = 0.7  # in sizes
_SPACES = re.compile("[ \r\n]+")
_WORD = re.compile(r"\S+")
_NEXT_LINE = 0.95  # in sizes; raised marks are nearer
_SAME_LINE = 0.1  # in sizes
_EAST_ASIAN = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff]")
_DOWN = 3  # the turn of letters on a line that runs down the page; the next line is on its left
_UPRIGHT = (1.0, 0.0, 0.0, 1.0)


class Segment(NamedTuple):
    """A piece of one line. Places are points along the line (`left`, `right`) and down the page (`base`).

    `turn` is the direction of its line in quarter turns; places are those of the page turned back by it.
    """

    start: int  # in the raw text
    end: int
    left: float
    right: float
    base: float
    size: float
    turn: int = 0
    drop: float = 0.0  # how far the baseline of its last character is below that of its first

    @property
    def width(self) -> float:
        return self.right - self.left


class Gap(NamedTuple):
    """A wide blank within a line: where it begins and ends, and the position in the raw text of what follows it."""

    left: float
    right: float
    next: int


class Places:
    """Looks up places of characters by their position in the raw text of a page."""

    def __init__(self, letters: Letters) -> None:
        self._letters = letters

    def segment(self, start: int, end: int) -> Segment | None:
        """Return the piece from `start` to `end` of the raw text, None if its characters have no place."""
        letters = self._letters
        first, last = letters.matrix(start), letters.matrix(end - 1)
        first_size, last_size = self._size(start, first), self._size(end - 1, last)
        size = max(first_size, last_size)
        if not size or not (begin := letters.origin(start)) or not (stop := letters.origin(end - 1)):
            return None
        a, b, _, _ = last or first or _UPRIGHT
        turn = 0 if a > abs(b) else _quarter(a, b)
        if abs(stop[1] - begin[1]) > _NEXT_LINE * size and not turn and self._is_column(start, end, begin, stop, size):
            turn = _DOWN
        left, base = _turned(*begin, turn) if turn else (begin[0], -begin[1])
        right, low = _turned(*stop, turn) if turn else (stop[0], -stop[1])
        drop = low - base
        if first_size < last_size:
            base = low  # of the larger one: the smaller one may be raised
        return Segment(start, end, min(left, right), max(left, right) + last_size / 2, base, size, turn, drop)

    def _is_column(self, start: int, end: int, begin: Point, stop: Point, size: float) -> bool:
        """Return whether upright letters stand below one another, as in a column of Japanese."""
        if not _EAST_ASIAN.search(self._letters.raw, start, end):
            return False  # a large bracket is put together from pieces
        places = [begin, stop, self._letters.origin((start + end) // 2) or begin]
        return all(abs(place[0] - begin[0]) < size / 2 for place in places) and begin[1] > places[2][1] >= stop[1]

    def lines(self, raw: str, segment: Segment) -> list[Segment]:
        """Return the lines of a piece that runs on over them: PDFium does not always part lines."""
        starts = [segment.start]
        last = segment.left, segment.base
        for match in _WORD.finditer(raw, segment.start, segment.end):
            origin = self._letters.origin(match.start())
            place = _turned(*origin, segment.turn) if origin else last
            if abs(place[1] - last[1]) > _NEXT_LINE * segment.size and place[0] < last[0]:
                starts.append(match.start())
            elif abs(place[1] - last[1]) > _SAME_LINE * segment.size:
                continue  # a raised mark
            last = place
        spans = zip(starts, [*starts[1:], segment.end], strict=True)
        found = [self.segment(start, start + len(raw[start:end].rstrip())) for start, end in spans]
        return [line for line in found if line]

    def visible(self, written: list[Segment], edges: Box) -> list[Segment]:
        """Return the segments that a page shows: those within its edges, and not transparent.

        Where most are transparent, they are the text of OCR under its picture.
        """
        is_clear = self._letters.is_clear
        turned = [_turned_box(edges, turn) for turn in range(4)]
        within = [segment for segment in written if _is_within(segment, *turned[segment.turn])]
        opaque = [
            segment
            for segment in within
            # the first and the last letter: a box to check may be a picture with a hidden letter
            if not is_clear(segment.start) or not is_clear(segment.end - 1)
        ]
        return opaque if 2 * len(opaque) >= len(within) else within

    def gaps(self, raw: str, segment: Segment) -> list[Gap]:
        """Return the blanks of a segment that are wider than those between its words."""
        found = []
        for match in _SPACES.finditer(raw, segment.start, segment.end):
            before, after = self._sides(match.start() - 1, segment.turn), self._sides(match.end(), segment.turn)
            if before and after:
                found.append(Gap(before[1], after[0], match.end()))
        if not found:
            return []
        usual = median(gap.right - gap.left for gap in found) if len(found) > 4 else 0.0
        least = max(0.9 * segment.size, 1.8 * usual)
        return [gap for gap in found if gap.right - gap.left >= least]

    def likely_gaps(self, raw: str, segment: Segment) -> list[Gap]:
        """Return about the same, without the first and last two blanks, from the starts of words alone: in a third
        of the time."""
        starts = [match.end() for match in _SPACES.finditer(raw, segment.start, segment.end)][1:-1]
        origins = [self._letters.origin(start) for start in starts]
        lefts = [_turned(*origin, segment.turn)[0] for origin in origins if origin]
        if len(lefts) < len(starts) or len(starts) < 2:
            return []
        advances = [
            (right - left) / (after - before)
            for left, right, before, after in zip(lefts, lefts[1:], starts, starts[1:], strict=False)
        ]
        usual = median(advances)  # of a character
        return [
            Gap(left + usual * (after - before), right, after)
            for left, right, before, after in zip(lefts, lefts[1:], starts, starts[1:], strict=False)
            if right - left - usual * (after - before) >= 1.5 * segment.size
        ]

    def span(self, first: int, last: int) -> tuple[float, float] | None:
        """Return the left and right edges of a word from the positions of its first and last characters, -1 if unknown.

        Letters that run up or down the page are not looked up.
        """
        if first < 0 or last < 0:
            return None
        sides = self._sides(first, 0), self._sides(last, 0)
        return (sides[0][0], sides[1][1]) if sides[0] and sides[1] else None

    def base(self, at: int) -> float | None:
        """Return how far down the page the baseline of a character is, None if that is unknown."""
        origin = self._letters.origin(at) if at >= 0 else None
        return -origin[1] if origin else None

    def _size(self, at: int, matrix: tuple[float, float, float, float] | None) -> float:
        if not matrix:
            return 0.0
        return self._letters.size(at) * (hypot(*matrix[2:]) if matrix[2] else abs(matrix[3]))

    def _sides(self, at: int, turn: int) -> tuple[float, float] | None:
        box = self._letters.box(at)
        if not box:
            return None
        left, right, bottom, top = box
        if turn == 0:
            return left, right
        along = sorted((_turned(left, bottom, turn)[0], _turned(right, top, turn)[0]))
        return along[0], along[1]


def segments(places: Places, raw: str) -> tuple[list[Segment], bool]:
    """Return the pieces of lines of a page in the order of the file; together they hold all its characters.

    The last is whether some of them were one piece in the raw text although they stand on several lines.
    """
    found: list[Segment] = []
    parted = False
    unplaced: int | None = None  # start of what came first and has no place
    for match in _PIECE.finditer(raw):
        segment = places.segment(*match.span())
        if segment:
            found.append(segment if unplaced is None else segment._replace(start=unplaced))
            unplaced = None
            if abs(segment.drop) > _NEXT_LINE * segment.size:
                found[-1:] = places.lines(raw, found[-1]) or found[-1:]
                parted |= found[-1].start > match.start()
        elif found:
            found[-1] = found[-1]._replace(end=match.end())
        elif unplaced is None:
            unplaced = match.start()
    return found, parted


def _turned_box(edges: Box, turn: int) -> Box:
    """Return left, top, right and bottom of a page as places of segments count."""
    corners = _turned(*edges[:2], turn), _turned(*edges[2:], turn)
    (left, right), (top, bottom) = (sorted(values) for values in zip(*corners, strict=True))
    return left, top, right, bottom


def _is_within(segment: Segment, left: float, top: float, right: float, bottom: float) -> bool:
    return (
        segment.right > left
        and segment.left < right
        and segment.base > top
        and segment.base - _CAPITAL_HEIGHT * segment.size < bottom
    )


def _quarter(a: float, b: float) -> int:
    if abs(a) >= abs(b):
        return 0 if a >= 0 else 2
    return 1 if b > 0 else 3


def _turned(x: float, y: float, turn: int) -> tuple[float, float]:
    """Return the place along the line and down the page of a point, for letters turned by quarters."""
    return ((x, -y), (y, x), (-x, y), (-y, -x))[turn]

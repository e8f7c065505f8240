"""Puts what a file holds apart into its row: form values, text typed onto a page, and raised marks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ingest.pdf.annotations import Box
from ingest.pdf.segments import Places, Segment

_WORD = re.compile(r"\S+")
_ON_EDGE = 2.0  # points; letters may touch the edge of their box
_BELOW = 0.3  # in sizes; in a box that is lower than its type, letters stand below its edge
_SAME_ROW = 0.7  # in sizes; a value rarely has exactly the baseline of its label
_MARK = 5  # characters: "(a)", "th", "*"
_MARKS = 30  # characters of those of one line
_SMALLER = 0.86  # of the size beside it
_LOWEST, _HIGHEST = 0.12, 0.9  # how far a mark is raised, in sizes of what it stands beside
_BEHIND = 3.0  # in sizes; a label behind its value, as that of a check box, is near

Row = list[Segment]


def without_values(
    written: list[Segment], places: Places, raw: str, boxes: Sequence[Box]
) -> tuple[list[Segment], list[Segment]]:
    """Return the segments of a page without those in the boxes at its end, and these, a piece of a line each."""
    words = [match.span() for match in _WORD.finditer(raw)]
    values: list[Segment] = []
    end = len(raw)
    before: Box | None = None
    while words and (word := places.segment(*words[-1])) and not word.turn:
        box = _box_of(word, boxes)
        if box is None:
            break
        last = values[-1] if values else None
        if last and box == before and abs(last.base - word.base) < 1 and word.left <= last.left:
            values[-1] = last._replace(start=word.start, left=word.left, size=max(last.size, word.size))
        else:
            values.append(word)
        before, end = box, word.start
        words.pop()
    kept = [segment._replace(end=min(segment.end, end)) for segment in written if segment.start < end]
    if kept and kept[-1].end == end:  # the value was on the line of what was written before it
        start = kept[-1].start
        shortened = places.segment(start, start + len(raw[start:end].rstrip()))
        kept[-1:] = [shortened] if shortened else []
    return kept, sorted(values, key=lambda value: (value.base, value.left))


def with_values(rows: list[Row], values: list[Segment], places: Places, raw: str) -> list[Row]:
    """Return the rows with each value in the row of its label, else below what stands above it."""
    rows = list(rows)
    for value in values:
        at = _row_of(rows, value)
        if at is not None:
            rows[at] = [*_parted(rows[at], value, places, raw), value]
            continue
        above = [n for n, row in enumerate(rows) if any(_is_above(cell, value) for cell in row)]
        nearest = max(above, key=lambda n: rows[n][0].base, default=len(rows) - 1)
        rows.insert(nearest + 1, [value])
    return rows


def is_mark_of(mark: Segment, cell: Segment) -> bool:
    """Return whether a short piece stands raised within a line, or right behind it."""
    return (
        mark.end - mark.start <= _MARK
        and mark.turn == cell.turn
        and mark.size <= _SMALLER * cell.size
        and _LOWEST * cell.size <= cell.base - mark.base <= _HIGHEST * cell.size
        and cell.left < mark.left <= cell.right + cell.size
    )


def without_marks(segments: list[Segment], places: Places, raw: str) -> tuple[list[Segment], list[Segment]]:
    """Return the segments without raised marks that the file holds apart from their line, and these."""
    kept: list[Segment] = []
    marks: list[Segment] = []
    small = _SMALLER * max((segment.size for segment in segments), default=0.0)
    for segment in segments:
        if segment.size > small or segment.end - segment.start > _MARKS:
            kept.append(segment)
            continue
        found: list[Segment] = []
        if not any(c.isspace() for c in raw[segment.start : segment.end]):
            found = [segment]
        else:  # those of several words of a line
            words = (places.segment(*match.span()) for match in _WORD.finditer(raw, segment.start, segment.end))
            found = [word for word in words if word]
        if found and all(any(is_mark_of(mark, cell) for cell in segments) for mark in found):
            marks += found
        else:
            kept.append(segment)
    return kept, marks


def with_marks(rows: list[Row], marks: list[Segment], places: Places, raw: str) -> list[Row]:
    """Return the rows with each mark behind the word that it stands beside."""
    rows = list(rows)
    for mark in marks:
        found = [(cell.base - mark.base, n) for n, row in enumerate(rows) for cell in row if is_mark_of(mark, cell)]
        if not found:  # it stood beside another mark, or beside a line that was taken apart
            rows = with_values(rows, [mark], places, raw)
            continue
        at = min(found)[1]
        rows[at] = [*_parted(rows[at], mark, places, raw), mark]
    return rows


def _box_of(word: Segment, boxes: Sequence[Box]) -> Box | None:
    for box in boxes:
        left, bottom, right, top = box
        below = max(_ON_EDGE, _BELOW * word.size)
        # `base` counts down the page
        if left - _ON_EDGE <= word.left <= right + _ON_EDGE and bottom - below <= -word.base <= top + _ON_EDGE:
            return box
    return None


def _row_of(rows: list[Row], value: Segment) -> int | None:
    """Return the row whose label stands before the value, or close behind it; the one with the nearest baseline."""
    found = []
    for number, row in enumerate(rows):
        distance = abs(row[0].base - value.base)
        if row[0].turn or distance > _SAME_ROW * max(row[0].size, value.size):
            continue
        if any(cell.left < value.left or 0 <= cell.left - value.right <= _BEHIND * value.size for cell in row):
            found.append((distance, number))
    return min(found)[1] if found else None


def _is_above(cell: Segment, value: Segment) -> bool:
    return not cell.turn and cell.base <= value.base and cell.left < value.right and cell.right > value.left


def _parted(row: Row, value: Segment, places: Places, raw: str) -> Row:
    """Return a row with the cell that runs over the value parted before the first word that begins behind it."""
    parted: Row = []
    for cell in row:
        words = [match.span() for match in _WORD.finditer(raw, cell.start, cell.end)]
        spans = [places.span(start, end - 1) for start, end in words]
        behind = next((n for n, span in enumerate(spans) if n and span and span[0] > value.left), None)
        before = spans[behind - 1] if behind else None
        if behind is None or before is None or cell.left >= value.left or cell.right <= value.left:
            parted.append(cell)
            continue
        after = spans[behind]
        parted.append(cell._replace(end=words[behind - 1][1], right=before[1]))
        parted.append(cell._replace(start=words[behind][0], left=after[0] if after else cell.left))
    return parted

"""Finds columns of prose whose lines the file holds row by row, and gives each column its own lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import median

from ingest.pdf.segments import Gap, Places, Segment

_SAMPLE = 5  # lines whose blanks are measured first
_LONG = 0.6  # of the width of the page's text; only such lines can hold two columns
_MIN_WORDS = 6  # of such a line
_DIGIT = re.compile("[0-9]")
_MAX_DIGITS = 0.15  # of the characters of such a line; rows of figures have more
_FEW_LINES = 3  # with the same wide blank; they may be columns
_MIN_LINES = 4  # with the same wide blank
_MIN_GUTTER = 0.6  # in sizes of the type
_PROSE_WORDS = 3.0  # a line, at least; columns of a newspaper have about four
_PROSE_LOWER = 0.4  # of the lines start in the middle of a sentence; rows of a table rarely do


def apart(segments: list[Segment], places: Places, raw: str) -> tuple[list[Segment], bool]:
    """Return the segments of a page, with columns that share lines taken apart and put one after the other.

    The last is whether more lines may be columns: too few, or those of one side only read as prose.
    """
    long = _long_lines(segments, raw)
    if len(long) < _FEW_LINES:
        return segments, False
    *sampled, last = long[:: -(-len(long) // _SAMPLE)]
    sample = [places.likely_gaps(raw, segment) for segment in sampled]
    if not any(sample):
        return segments, False  # two lines must share one
    sample.append(places.likely_gaps(raw, last))
    if not _share_a_gap(sample, long[0].size):
        return segments, False
    return _apart(segments, {segment.start: places.gaps(raw, segment) for segment in segments}, raw)


def is_prose(lines: Sequence[Segment], raw: str) -> bool:
    """Return whether lines run on from one to the next, as those of a paragraph do and cells of a table do not."""
    texts = [raw[line.start : line.end] for line in lines]
    if len(texts) < 2 or median(len(text.split()) for text in texts) < _PROSE_WORDS:
        return False
    first = [next((c for c in text if c.isalnum()), "0") for text in texts[1:]]
    return sum(c.isalpha() and not c.isupper() for c in first) >= _PROSE_LOWER * len(first)


def _share_a_gap(lines: list[list[Gap]], size: float) -> bool:
    """Return whether wide blanks of two lines stand above one another."""
    return any(
        min(first.right, second.right) - max(first.left, second.left) >= _MIN_GUTTER * size
        for number, line in enumerate(lines)
        for other in lines[number + 1 :]
        for first in line
        for second in other
    )


def _long_lines(segments: list[Segment], raw: str) -> list[Segment]:
    if len(segments) < _FEW_LINES:
        return []
    width = max(s.right for s in segments) - min(s.left for s in segments)
    return [
        s
        for s in segments
        if s.width >= _LONG * width
        and raw.count(" ", s.start, s.end) >= _MIN_WORDS - 1
        and len(_DIGIT.findall(raw, s.start, s.end)) <= _MAX_DIGITS * (s.end - s.start)
    ]


def _apart(segments: list[Segment], gaps: dict[int, list[Gap]], raw: str) -> tuple[list[Segment], bool]:
    ordered: list[Segment] = []
    at = 0
    uncertain = False
    while at < len(segments):
        stop, gutter, shared = _longest_run(segments, at, gaps)
        if gutter:
            columns = _columns(segments[at:stop], gutter, gaps, raw)
            prose = [is_prose(column, raw) for column in columns]
            if all(prose) and shared >= _MIN_LINES:
                # both may hold further columns
                for column, more in (_apart(column, gaps, raw) for column in columns):
                    ordered += column
                    uncertain |= more
                at = stop
                continue
            uncertain |= any(prose) if shared >= _MIN_LINES else all(prose)
        ordered.append(segments[at])
        at += 1
    return ordered, uncertain


def _longest_run(
    segments: list[Segment], at: int, gaps: dict[int, list[Gap]]
) -> tuple[int, tuple[float, float] | None, int]:
    """Return where the longest run of lines from `at` ends that leave one gutter free, that gutter, and how many do."""
    best: tuple[int, tuple[float, float] | None, int] = (at, None, 0)
    for gap in gaps[segments[at].start]:
        low, high, shared, stop = gap.left, gap.right, 0, at
        for above, segment in zip([None, *segments[at:]], segments[at:], strict=False):
            if above and (segment.turn != above.turn or segment.base < above.base - 0.3 * above.size):
                break
            inside = _common(low, high, gaps[segment.start], _MIN_GUTTER * segment.size)
            if inside:
                low, high = inside
                shared += 1
            elif segment.left < high - 1 and segment.right > low + 1:
                break
            stop += 1
        if shared >= _FEW_LINES and stop > best[0] and (shared >= _MIN_LINES or best[2] < _MIN_LINES):
            best = (stop, (low, high), shared)
    return best


def _common(low: float, high: float, gaps: list[Gap], least: float) -> tuple[float, float] | None:
    """Return what the gutter shares with the first blank that leaves enough of it."""
    for gap in gaps:
        shared = max(low, gap.left), min(high, gap.right)
        if shared[1] - shared[0] >= least:
            return shared
    return None


def _columns(
    segments: list[Segment], gutter: tuple[float, float], gaps: dict[int, list[Gap]], raw: str
) -> tuple[list[Segment], list[Segment]]:
    left: list[Segment] = []
    right: list[Segment] = []
    for segment in segments:
        cut = next((g for g in gaps[segment.start] if g.left <= gutter[0] + 1 and g.right >= gutter[1] - 1), None)
        if cut:
            end = segment.start + len(raw[segment.start : cut.next].rstrip())
            left.append(segment._replace(end=end, right=cut.left))
            right.append(segment._replace(start=cut.next, left=cut.right))
            gaps[cut.next] = [gap for gap in gaps[segment.start] if gap.next > cut.next]
            gaps[segment.start] = [gap for gap in gaps[segment.start] if gap.next < cut.next]
        else:
            (left if segment.right <= gutter[1] + 1 else right).append(segment)
    return left, right

"""Puts the text of a page into the order in which it is read, where the order of the file is another."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from statistics import median

from ingest.pdf.annotations import Shown
from ingest.pdf.columns import apart, is_prose
from ingest.pdf.letters import RIGHT_TO_LEFT, Letters
from ingest.pdf.raised import RAISED_DIGITS
from ingest.pdf.segments import Places, Segment, segments
from ingest.pdf.text import HYPHEN
from ingest.pdf.values import is_mark_of, with_marks, with_values, without_marks, without_values

_PIECE = re.compile(r"\S(?:[^\r\n]*\S)?")
_SAME_LINE = 0.1  # in sizes, of the baselines of two pieces
_SAME_ROW = 0.3  # in sizes; cells of one row have about one baseline
_MIN_ROWS = 2  # that two columns of a table share
_MATCHED = 0.7  # of the cells of a column that stand in rows of the table
_FIGURES = 0.6  # of the cells below its head
_MISSING = re.compile(r"(?i)n/?[am]\.?")
_MIN_TEXT_ROWS = 5  # of a column of words, each beside a row of the table
_CELL_WORDS = 3.5  # a cell, at most, in one of two columns of a table
_SAME_BLOCK = 2.2  # in sizes, from one line to the next
_SAME_COLUMN = 0.5  # of the narrower one
_LETTER = re.compile(r"[^\W\d_]")

Row = list[Segment]


@dataclass(frozen=True)
class Ordered:
    """The raw text of a page in reading order, its lines, and where each character stands in PDFium's text."""

    raw: str
    lines: tuple[tuple[int, int, float], ...] = ()  # start, end, type size in points
    runs: tuple[tuple[int, int], ...] = ()  # where a piece starts in it and in PDFium's text, -1 for inserted ones
    uncertain: bool = False  # lines may be columns, or a block is read after one that stands below it

    def origin(self, position: int) -> int:
        """Return the position in PDFium's text, -1 if the character was inserted."""
        if not self.runs:
            return position
        start, original = self.runs[bisect_right(self.runs, position, key=lambda run: run[0]) - 1]
        return original + position - start if original >= 0 else -1


def in_reading_order(letters: Letters, raw: str, shown: Shown) -> Ordered:
    """Return the raw text of a page, with raised digits, in reading order and without what it does not show.

    Seven things are repaired, all others left as the file has them: lines that PDFium parts or joins, columns of prose written row
    by row, tables written column by column, blocks that were written after what stands below them, form values, and
    raised marks that were written apart from their lines.
    """
    places = Places(letters)
    held, parted = segments(places, raw)
    visible = places.visible(held, shown.edges)
    written, values = without_values(visible, places, raw, shown.boxes) if shown.boxes else (visible, [])
    if not written:
        return Ordered(raw) if not held else _in_rows(raw, with_values([], values, places, raw), rtl=False)
    upright = _in_one_direction(written)
    rtl = _is_right_to_left(raw)
    whole, marks = without_marks(_whole_lines(upright, raw), places, raw)
    taken_apart, mixed = apart(whole, places, raw)
    rows, crossed = _blocks_in_order(_rows(taken_apart, raw), raw, rtl=rtl)
    uncertain = mixed or crossed
    for mark in marks:  # "(1)" would be a figure
        raw = raw[: mark.start] + raw[mark.start : mark.end].translate(RAISED_DIGITS) + raw[mark.end :]
    if marks or values:
        rows = with_values(with_marks(rows, marks, places, raw), values, places, raw)
    elif not parted and len(visible) == len(held) and [segment for row in rows for segment in row] == upright:
        lines = _lines(raw, [(segment.start, segment.end, segment.size) for segment in written])
        return Ordered(raw, lines, uncertain=uncertain)
    turned = [[segment] for segment in written if segment.turn != upright[0].turn]
    return replace(_in_rows(raw, [*rows, *turned], rtl=rtl), uncertain=uncertain)


def _in_one_direction(written: list[Segment]) -> list[Segment]:
    """Return the segments in the direction of most letters; a stamp along the edge is not part of the order."""
    letters = [0, 0, 0, 0]
    for segment in written:
        letters[segment.turn] += segment.end - segment.start
    turn = letters.index(max(letters))
    return written if sum(letters) == letters[turn] else [segment for segment in written if segment.turn == turn]


def _whole_lines(written: list[Segment], raw: str) -> list[Segment]:
    """Return the segments with those joined that stand on one line; PDFium parts some cells of a table."""
    lines: list[Segment] = []
    for segment in written:
        last = lines[-1] if lines else None
        if (
            last
            and abs(last.base - segment.base) <= _SAME_LINE * min(last.size, segment.size)
            and (segment.left >= last.right or segment.right <= last.left)
            and raw[last.end - 1] != HYPHEN
        ):
            left, right = min(last.left, segment.left), max(last.right, segment.right)
            lines[-1] = last._replace(end=segment.end, left=left, right=right, size=max(last.size, segment.size))
        elif last and is_mark_of(segment, last) and segment.left >= last.right - 1:
            lines[-1] = last._replace(end=segment.end, right=max(last.right, segment.right))
        else:
            lines.append(segment)
    return lines


def _rows(pieces: list[Segment], raw: str) -> list[Row]:
    """Return the rows of a page: columns of cells that the file holds one after the other are joined."""
    rows: list[Row] = []
    start = 0  # of the stack before
    for stack in _stacks(pieces):
        table = rows[start:]
        joined = _joined(table, stack, raw)
        if joined is None:
            start = len(rows)
            rows += [[segment] for segment in stack]
        else:
            rows[start:] = joined
    return rows


def _stacks(pieces: list[Segment]) -> Iterator[list[Segment]]:
    """Yield the longest runs of segments that go down the page."""
    stack: list[Segment] = []
    for piece in pieces:
        if stack and piece.base < stack[-1].base - _SAME_ROW * piece.size:
            yield stack
            stack = []
        stack.append(piece)
    if stack:
        yield stack


def _joined(table: list[Row], stack: list[Segment], raw: str) -> list[Row] | None:
    """Return the rows of a table with one more column of cells, None if the stack is no such column."""
    found = [_row_of(table, segment) for segment in stack]
    matched = [number for number, row in enumerate(found) if row is not None]
    if len(matched) < _MIN_ROWS:
        return None
    column, rest = stack[: matched[-1] + 1], stack[matched[-1] + 1 :]
    low, high = found[matched[0]], found[matched[-1]]
    if len(matched) < _MATCHED * len(column) or low is None or high is None:
        return None
    beside = table[low : high + 1]
    labels = [row[0] for row in beside]
    if len(matched) < _MATCHED * len(beside) or (is_prose(labels, raw) and is_prose(column, raw)):
        return None
    if not _is_column_of_cells(column, raw) and not (
        len(matched) == len(column) == len(beside) >= _MIN_TEXT_ROWS
        and min(_words(labels, raw), _words(column, raw)) <= _CELL_WORDS
    ):
        return None
    rows = [list(row) for row in table]
    for segment, row in zip(column, found, strict=False):
        if row is None:
            rows.append([segment])
        else:
            rows[row].append(segment)
    head, body = rows[:low], sorted(rows[low:], key=lambda row: row[0].base)
    return [*head, *body, *([segment] for segment in rest)]


def _row_of(table: list[Row], segment: Segment) -> int | None:
    for number, row in enumerate(table):
        if abs(row[0].base - segment.base) <= _SAME_ROW * segment.size:
            return number if all(segment.left >= cell.right or segment.right <= cell.left for cell in row) else None
    return None


def _is_column_of_cells(cells: list[Segment], raw: str) -> bool:
    """Return whether most of the cells are figures; lines of one wrapped cell are not."""
    texts = [raw[cell.start : cell.end] for cell in cells]
    figures = [
        sum(c.isalpha() for c in text) <= sum(c.isdigit() for c in text) or bool(_MISSING.fullmatch(text))
        for text in texts
    ]
    if len(figures) > _MIN_ROWS + 1 and not figures[0]:
        del figures[0]  # the head
    return sum(figures) >= _FIGURES * len(figures)


def _words(cells: list[Segment], raw: str) -> float:
    return median(len(raw[cell.start : cell.end].split()) for cell in cells)


@dataclass(slots=True)
class _Block:
    """Rows that follow each other down the page, in the file and on it."""

    rows: list[Row]
    left: float
    right: float
    top: float
    bottom: float


def _blocks_in_order(rows: list[Row], raw: str, *, rtl: bool) -> tuple[list[Row], bool]:
    """Return the rows with each block right after those above it, and a column on the left before one on the right.

    The last is whether a block is still after one that stands below it.
    """
    blocks = _blocks(rows)
    if all(block.bottom <= below.top + 1 for block, below in pairwise(blocks)):
        return rows, False
    ordered = _columns_in_order([blocks[n] for n in _sorted(blocks)], raw, rtl=rtl)
    crossed = any(_is_above(later, block) for block, later in combinations(ordered, 2))
    return [row for block in ordered for row in block.rows], crossed


def _sorted(blocks: list[_Block]) -> list[int]:
    """Return the positions of blocks in an order in which each is after those above it, else as the file has them.

    Where blocks are before one that stands above them, the smaller side was misplaced: a page number waits for its page,
    a heading is drawn to its text, and a box to the columns under it.
    """
    above = [[n for n, other in enumerate(blocks) if _is_above(other, block)] for block in blocks]
    sizes = [sum(cell.end - cell.start for row in block.rows for cell in row) for block in blocks]
    early_below = [sum(sizes[m] for m in range(n) if n in above[m]) for n in range(len(blocks))]
    late_above = [
        sum(sizes[m] for m in others if m > n and early_below[m] <= sizes[m]) for n, others in enumerate(above)
    ]
    missing_of_early: dict[int, set[int]] = {}
    for n, block in enumerate(blocks):
        if late_above[n] > sizes[n]:
            missing_of_early[n] = set(above[n])
        elif n - 1 in missing_of_early and block.top < blocks[n - 1].bottom and block.bottom > blocks[n - 1].top:
            missing_of_early[n] = {n - 1, *above[n]}  # what stands beside it goes with it: a value with its label
    ordered: dict[int, None] = {}
    for start in [*(n for n in range(len(blocks)) if n not in missing_of_early), *missing_of_early]:
        waiting = [start]
        while waiting:  # depth first
            missing = [n for n in above[waiting[-1]] if n not in ordered]
            if missing:
                waiting += reversed(missing)
                continue
            done = waiting.pop()
            ordered[done] = None
            for early, its_missing in reversed(missing_of_early.items()):  # the first of them is read next
                its_missing.discard(done)
                if not its_missing and early not in ordered:
                    waiting.append(early)
    return list(ordered)


def _columns_in_order(blocks: list[_Block], raw: str, *, rtl: bool) -> list[_Block]:
    columns: list[list[_Block]] = []
    for block in blocks:
        last = columns[-1][-1] if columns else None
        if last and last.bottom <= block.top + 1 and _share_width(last, block):
            columns[-1].append(block)
        else:
            columns.append([block])
    for at in range(len(columns) - 1):
        first, second = columns[at : at + 2]
        if _is_beside(*((first, second) if rtl else (second, first))) and all(
            is_prose([row[0] for block in column for row in block.rows], raw) for column in (first, second)
        ):
            columns[at : at + 2] = [second, first]
    return [block for column in columns for block in column]


def _is_beside(left: list[_Block], right: list[_Block]) -> bool:
    """Return whether one column stands beside the other for most of the shorter one."""
    if max(block.right for block in left) > min(block.left for block in right):
        return False
    shared = min(left[-1].bottom, right[-1].bottom) - max(left[0].top, right[0].top)
    return shared >= _SAME_COLUMN * min(left[-1].bottom - left[0].top, right[-1].bottom - right[0].top)


def _blocks(rows: list[Row]) -> list[_Block]:
    blocks: list[_Block] = []
    for row in rows:
        left, right, base, size = row[0].left, row[0].right, row[0].base, row[0].size
        for cell in row[1:]:
            left, right, size = min(left, cell.left), max(right, cell.right), max(size, cell.size)
        last = blocks[-1] if blocks else None
        if last and 0 < base - last.bottom <= _SAME_BLOCK * size and left < last.right and right > last.left:
            last.rows.append(row)
            last.left, last.right, last.bottom = min(last.left, left), max(last.right, right), base
        else:
            blocks.append(_Block([row], left, right, base - size, base))
    return blocks


def _is_above(block: _Block, other: _Block) -> bool:
    return block.bottom <= other.top + 1 and block.bottom <= other.bottom - 1 and _share_width(block, other)


def _share_width(block: _Block, other: _Block) -> bool:
    shared = min(block.right, other.right) - max(block.left, other.left)
    return shared >= _SAME_COLUMN * min(block.right - block.left, other.right - other.left)


def _in_rows(raw: str, rows: list[Row], *, rtl: bool) -> Ordered:
    """Return the text of the rows, a line each, with the position of every character."""
    parts: list[str] = []
    runs: list[tuple[int, int]] = []
    lines: list[tuple[int, int, float]] = []
    length = ended = 0

    def add(text: str, origin: int) -> None:
        nonlocal length
        parts.append(text)
        runs.append((length, origin))
        length += len(text)

    for row in rows:
        start = length
        if parts and parts[-1] != "\r\n" and row[0].start != ended:
            # what the hyphen joined stands elsewhere now
            parts[-1] = parts[-1].removesuffix(HYPHEN) + "-"
            add("\r\n", -1)
            start = length
        for number, cell in enumerate(sorted(row, key=lambda cell: cell.left, reverse=rtl)):
            if number:
                add(" ", -1)
            for part, piece in enumerate(_PIECE.finditer(raw, cell.start, cell.end)):
                if part:
                    add(" ", -1)
                add(piece.group(), piece.start())
            ended = cell.end
        lines.append((start, length, max(cell.size for cell in row)))
        if parts[-1][-1] != HYPHEN:
            add("\r\n", -1)
    ordered = "".join(parts)
    return Ordered(ordered, _lines(ordered, lines), tuple(runs))


def _lines(raw: str, pieces: Iterable[tuple[int, int, float]]) -> tuple[tuple[int, int, float], ...]:
    """Return the lines of a text: two that a hyphen joins are one."""
    lines: list[tuple[int, int, float]] = []
    for start, end, size in pieces:
        if lines and raw[lines[-1][1] - 1] == HYPHEN:
            start, size = lines[-1][0], max(lines.pop()[2], size)
        lines.append((start, end, size))
    return tuple(lines)


def _is_right_to_left(raw: str) -> bool:
    if not RIGHT_TO_LEFT.search(raw):
        return False
    return len(RIGHT_TO_LEFT.findall(raw)) * 2 > len(_LETTER.findall(raw))

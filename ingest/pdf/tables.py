"""The rows of the tables of a page, with label, column heads and unit, by the places of characters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ingest.pdf.cells import PROSE_WORDS, Line, Piece, cell_lines
from ingest.pdf.letters import Letters
from ingest.pdf.order import Ordered

_SCALE = (
    r"thousands?|millions?|billions?|000s?|'000|mm|mio\.?|mrd\.?|tsd\.?|teur|tausend|millionen|milliarden"
    r"|milliers|milliards?|millones|miles|milioni|migliaia|miljoen|miljoner"
)
_UNIT = re.compile(
    rf"(?i)\(([^()]{{0,60}}(?<!\w)(?:{_SCALE})(?!\w)[^()]{{0,60}})\)"
    rf"|(?<!\w)((?:(?:u\.?s\.? )?dollars |amounts |euros? |figures |[$€£¥] ?)?(?:in|en) [^\s()]{{0,12}} ?(?:of )?(?:{_SCALE})(?!\w))"
    rf"|^((?:{_SCALE})(?: of)?(?: [\w.$€£]+)?|[$€£] ?(?:{_SCALE}))$"
)
_PERIOD = re.compile(
    r"(?i)\b(?:years?|quarters?|months?|weeks?|periods?|fiscal|ended|jahre?|quartale?|exercices?|años?|(?:1[89]|20)\d\d)\b"
)
_COUNT = re.compile(r"(?i)(?:page )?\(?(\d{1,4})\)?")
_MAX_HEAD_LINES = 8  # above the first row of a table
_BELOW_HEADS = 4.0  # in sizes, from the lowest line of heads to the first row, at most
_HEAD_LEADING = 3.0  # in sizes, from one line of heads to the next; a title has more space below it
_LINE_HEIGHT = 0.9  # in sizes; heads of two cells may be less apart, those of one cell are not
_SAME_LINE = 0.3  # in sizes, of baselines
_MAX_BLANK = 12  # in sizes, between two rows of a table
_SENTENCE_WORDS = 6  # that run on over the columns of a table
_MAX_HEAD = 80  # characters


@dataclass(frozen=True)
class Cell:
    """A figure of a table with the head of its column, "" if it has none; `start` and `end` are those in Page.text."""

    head: str
    value: str
    start: int
    end: int


@dataclass(frozen=True)
class TableRow:
    """A row of a table; `start` and `end` are those of its line in Page.text."""

    start: int
    end: int
    label: str
    cells: tuple[Cell, ...]
    unit: str = ""  # as it is printed, e.g. "in millions, except per share data"

    def __str__(self) -> str:
        cells = "; ".join(f"{cell.head} {cell.value}".strip() for cell in self.cells)
        return f"{self.label}: {cells}".removeprefix(": ") + (f" ({self.unit})" if self.unit else "")


@dataclass(slots=True)
class _Table:
    above: list[Line]  # its heads, its unit, and what stands above them
    lines: list[Line] = field(default_factory=list)


def table_rows(letters: Letters, ordered: Ordered) -> list[TableRow]:
    """Return the rows with figures of the tables of a page, from the top."""
    lines = list(cell_lines(letters, ordered))
    return [row for table in _tables(lines) for row in _rows(table)]


def _tables(lines: Sequence[Line]) -> Iterator[_Table]:
    table: _Table | None = None
    above: list[Line] = []
    for line in lines:
        if not line.is_row:
            above.append(line)
            continue
        if table and _goes_on(table, above, line):
            table.lines += above  # words between rows
        else:
            if table:
                yield table
            table = _Table(above)
        table.lines.append(line)
        above = []
    if table:
        yield table


def _goes_on(table: _Table, between: list[Line], line: Line) -> bool:
    """Return whether a row below a table, and the words between, are of that table: some of its columns may be new."""
    last, columns = table.lines[-1], _columns(table)
    if not -_SAME_LINE * line.size <= line.base - last.base <= _MAX_BLANK * line.size:
        return False
    if any(_is_head(other) or _ends(other, columns) for other in between):
        return False
    under = [sum(piece.overlaps(*column) for column in columns) for piece in line.figures]
    return max(under) == 1 and 2 * sum(under) >= len(under)


def _is_head(line: Line) -> bool:
    """Return whether a line is one of heads: years, or several cells without a figure."""
    figures = line.figures or [piece for piece in line.pieces if piece.is_year]
    return bool(figures) and all(piece.is_year for piece in figures)


def _ends(line: Line, columns: list[tuple[float, float]]) -> bool:
    """Return whether a line ends a table: a sentence that runs on over its columns, or heads or unit of the next one."""
    beyond = columns[1][0] if len(columns) > 1 else columns[0][1]
    over = [piece for piece in line.pieces if any(piece.overlaps(*column, 0.0) for column in columns)]
    if not line.figures and (len(over) > 1 or (over == line.pieces and _PERIOD.search(over[0].text))):
        return True
    return any(
        (piece.words >= _SENTENCE_WORDS and piece.left < columns[0][0] and piece.right > beyond)
        or (_UNIT.fullmatch(piece.text) and piece.right > columns[0][0])
        for piece in line.pieces
    )


def _rows(table: _Table) -> Iterator[TableRow]:
    columns = _columns(table)
    if not columns:
        return
    heads = _heads(table, columns)
    unit = _unit(table)
    if not any(heads) and not unit and _only_counts([line for line in table.lines if line.is_row]):
        return
    group, label = "", _label_above(table, columns)
    for line in table.lines:
        figures = line.figures
        words = " ".join(piece.text for piece in line.pieces if piece not in figures).rstrip(" .…:#")
        if not line.is_row:
            label = f"{label} {words}" if label and words[:1].islower() else words
            group = words if line.pieces[-1].text.endswith(":") else group
            continue
        if (not words and _is_scale(figures)) or (not any(heads) and not unit and figures[-1] is not line.pieces[-1]):
            continue  # figures along an axis, or in a sentence
        wrapped = label and words[:1].islower()
        cells = tuple(Cell(heads[_column_of(columns, piece)], piece.text, piece.start, piece.end) for piece in figures)
        full = f"{label} {words}" if wrapped else words
        yield TableRow(line.start, line.end, full or group, cells, unit)
        label = ""


def _label_above(table: _Table, columns: list[tuple[float, float]]) -> str:
    """Return what stands right above the first row, left of the figures: its label may have begun there."""
    words: list[str] = []
    below = table.lines[0]
    for line in reversed(table.above):
        near = 0 < below.base - line.base <= 1.6 * line.size
        if not near or len(line.pieces) > 1 or line.pieces[0].right > columns[0][0]:
            break
        words.insert(0, line.pieces[0].text)
        below = line
        if not words[0][:1].islower():
            break
    return " ".join(words)


def _only_counts(rows: list[Line]) -> bool:
    """Return whether rows without heads are numbers of pages, equations or items: one on each, and they count up."""
    if any(len(row.figures) > 1 for row in rows):
        return False
    found = [_COUNT.fullmatch(row.figures[0].text) for row in rows]
    numbers = [int(match[1]) for match in found if match]
    return len(numbers) == len(rows) and numbers == sorted(numbers)


def _is_scale(figures: list[Piece]) -> bool:
    """Return whether figures are those along the axis of a chart: from one to the next it is always as far."""
    try:
        numbers = [float(figure.text.replace(",", "").rstrip("%")) for figure in figures]
    except ValueError:
        return False
    steps = {round(after - before, 6) for before, after in pairwise(numbers)}
    return len(numbers) > 2 and len(steps) == 1 and steps != {0.0}


def _columns(table: _Table) -> list[tuple[float, float]]:
    """Return the left and right edges of the columns of figures, from the left."""
    columns: list[tuple[float, float]] = []
    for line in table.lines:
        for piece in line.figures if line.is_row else ():
            at = next((n for n, column in enumerate(columns) if piece.overlaps(*column)), None)
            if at is None:
                columns.append((piece.left, piece.right))
            else:
                columns[at] = min(columns[at][0], piece.left), max(columns[at][1], piece.right)
    return sorted(columns)


def _column_of(columns: list[tuple[float, float]], piece: Piece) -> int:
    def shared(number: int) -> float:
        return min(piece.right, columns[number][1]) - max(piece.left, columns[number][0])

    return max(range(len(columns)), key=shared)


def _heads(table: _Table, columns: list[tuple[float, float]]) -> list[str]:
    """Return the words above each column, from the top, without titles, which begin above the labels or the unit."""
    heads: list[list[str]] = [[] for _ in columns]
    first, width = columns[0][0], columns[0][1] - columns[0][0]
    below, gaps = table.lines[0].base, list[float]()
    tops = [below] * len(columns)  # of the heads of each
    for size, above in _lines_above(table):
        pieces = [piece for piece in above if piece.right > first and not _UNIT.fullmatch(piece.text)]
        is_title = len(above) == 1 and pieces and pieces[0].left < first - 1.5 * width
        gap = (below - above[0].base) / size
        if is_title or gap > _max_leading(gaps) or any(piece.words >= PROSE_WORDS for piece in above):
            break
        below = above[0].base
        gaps.append(gap)
        if not pieces:
            if any(heads) and any(_UNIT.search(piece.text) for piece in above):
                break  # what stands above the unit is the title
            continue
        free = {number for number, top in enumerate(tops) if top - below > _LINE_HEIGHT * size}
        spans = _groups(pieces, columns, heads) or _spanned(pieces, columns, free)
        for piece, spanned in zip(pieces, spans, strict=True):
            for number in spanned:
                heads[number].insert(0, piece.text)
                tops[number] = below
    return [_last_words(" ".join(words)) for words in heads]


def _max_leading(below: list[float]) -> float:
    """Return how far one line of heads may stand above another, from how far apart those below it are, all in sizes.

    A title has more space below it than heads have between their lines.
    """
    if not below:
        return _BELOW_HEADS
    between = below[1:]  # the first is from the heads to the figures
    return min(_HEAD_LEADING, max(2.0, 1.8 * max(between))) if between else _HEAD_LEADING


def _lines_above(table: _Table) -> list[tuple[float, list[Piece]]]:
    """Return the lines above a table as they stand on the page, from the lowest, with their size: a file may hold heads
    cell by cell."""
    top, cells = table.lines[0], [piece for line in table.lines for piece in line.pieces]
    left, right = min(cell.left for cell in cells), max(cell.right for cell in cells)
    lines: list[tuple[float, list[Piece]]] = []
    found = [
        (piece, line.size)
        for line in table.above
        for piece in line.pieces
        if piece.base < top.base - 1 and piece.left < right and piece.right > left  # not in another column of the page
    ]
    for piece, size in sorted(found, key=lambda item: -item[0].base):
        if lines and lines[-1][1][0].base - piece.base <= _SAME_LINE * size:
            lines[-1][1].append(piece)
        else:
            lines.append((size, [piece]))
    return [(size, sorted(pieces, key=lambda piece: piece.left)) for size, pieces in lines[:_MAX_HEAD_LINES]]


def _last_words(text: str) -> str:
    """Return the end of a long head, which stands next to the figures, from a whole word on."""
    return text if len(text) <= _MAX_HEAD else text[-_MAX_HEAD:].partition(" ")[2] or text[-_MAX_HEAD:]


def _spanned(pieces: list[Piece], columns: list[tuple[float, float]], free: set[int]) -> list[range]:
    """Return the columns under each head of a line: those it overlaps, and if it is wide or a period those it is centered
    over, as far as these are free, without a head beside it."""
    pitch = (columns[-1][1] - columns[0][0]) / len(columns)
    own = [_overlapped(piece, columns, reach=pitch / 4) for piece in pieces]
    spans: list[range] = []
    for number, (piece, under) in enumerate(zip(pieces, own, strict=True)):
        taken = {column for spanned in (*spans, *own[number + 1 :]) for column in spanned}
        if under and (piece.right - piece.left > pitch or _PERIOD.search(piece.text)):
            center = (piece.left + piece.right) / 2
            wider = (
                range(low, high + 1)
                for low in range(under.start + 1)
                for high in range(under.stop - 1, len(columns))
                if abs((columns[low][0] + columns[high][1]) / 2 - center) < pitch / 3
                and not taken.intersection(range(low, high + 1))
                and free.issuperset(range(low, high + 1))
            )
            under = max([under, *wider], key=len)
        spans.append(under)
    return spans


def _groups(pieces: list[Piece], columns: list[tuple[float, float]], heads: list[list[str]]) -> list[range]:
    """Return the columns under each of some years that share all columns evenly, each with a head below; [] if not so.

    Reports set a year above its last column, or its first, with a rule over all of them.
    """
    size, rest = divmod(len(columns), len(pieces))
    groups = [range(n * size, (n + 1) * size) for n in range(len(pieces))]
    is_even = size > 1 and len(pieces) > 1 and not rest and all(heads) and all(piece.is_year for piece in pieces)
    return groups if is_even and all(map(_is_over, pieces, groups, [columns] * len(pieces))) else []


def _is_over(piece: Piece, group: range, columns: list[tuple[float, float]]) -> bool:
    return piece.left < columns[group[-1]][1] and piece.right > columns[group[0]][0]


def _overlapped(piece: Piece, columns: list[tuple[float, float]], *, reach: float) -> range:
    under = [n for n, (left, right) in enumerate(columns) if piece.left < right + reach and piece.right > left - reach]
    if not under:
        return range(0)
    exactly = [n for n in under if piece.overlaps(*columns[n], 0.0)]
    chosen = exactly or under[:1]
    return range(chosen[0], chosen[-1] + 1)


def _unit(table: _Table) -> str:
    for _, pieces in _lines_above(table):
        for piece in reversed(pieces):
            if found := _UNIT.search(piece.text):
                return next(part for part in found.groups() if part).strip(" .:;")
    return ""

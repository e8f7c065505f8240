"""The rows of the tables of a page, with label, column heads and unit, by the places of characters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ingest.pdf.letters import Letters
from ingest.pdf.order import Ordered
from ingest.pdf.segments import Places
from ingest.pdf.text import alignment, normalize

_WORD = re.compile(r"[^\s]+")
_CURRENCY = "$€£¥₹"
_NUMBER = re.compile(
    rf"[-–—+(\[]*[{_CURRENCY}]?\s?[-–—(]?(?:\d[\d.,'’\u202f ]*\d|\d)(?:[.,]\d+)?\s?[%)\]]*[¹²³⁰-⁹ᵃᵇᶜᵈᵉᶠᵍʰ]*"
    r"(?:\(\d{1,2}\)|\s?\((?:[a-z]|[¹²³⁰-⁹]{1,2})\))?|[-–—]|(?i:n/?[am]\.?)"
)
_DASH = re.compile(r"[-–—]|(?i:n/?[am]\.?)")
_YEAR = re.compile(r"(?:(?:FY|CY|Q[1-4])\s?)?(?:19|20)\d\d(?:\s?[AEFPae]|/\d\d)?[¹²³⁰-⁹]*(?:\([a-z\d¹²³⁰-⁹]\))?")
_SCALE = (
    r"thousands?|millions?|billions?|000s?|'000|mm|mio\.?|mrd\.?|tsd\.?|teur|tausend|millionen|milliarden"
    r"|milliers|milliards?|millones|miles|milioni|migliaia|miljoen|miljoner"
)
_UNIT = re.compile(
    rf"(?i)\(([^()]{{0,60}}(?<!\w)(?:{_SCALE})(?!\w)[^()]{{0,60}})\)"
    rf"|(?<!\w)((?:(?:u\.?s\.? )?dollars |amounts |euros? |figures )?(?:in|en) [^\s()]{{0,12}} ?(?:of )?(?:{_SCALE})(?!\w))"
    rf"|^((?:{_SCALE})(?: of)?(?: [\w.$€£]+)?|[$€£] ?(?:{_SCALE}))$"
)
_PERIOD = re.compile(
    r"(?i)\b(?:years?|quarters?|months?|weeks?|periods?|fiscal|ended|jahre?|quartale?|exercices?|años?)\b"
)
_CELL_GAP = 0.75  # in sizes of the type; wider blanks part cells
_MAX_HEAD_LINES = 8  # above the first row of a table
_PROSE_WORDS = 10  # in one cell of a line, at least
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
class _Piece:
    """What stands in one cell of a line."""

    text: str
    start: int
    end: int
    left: float
    right: float

    @property
    def is_figure(self) -> bool:
        return bool(_NUMBER.fullmatch(self.text))

    @property
    def is_year(self) -> bool:
        return bool(_YEAR.fullmatch(self.text))

    def overlaps(self, left: float, right: float, share: float = 0.3) -> bool:
        shared = min(self.right, right) - max(self.left, left)
        return shared > share * min(self.right - self.left, right - left)


@dataclass(slots=True)
class _Line:
    start: int
    end: int
    pieces: list[_Piece]

    @property
    def figures(self) -> list[_Piece]:
        """The cells that hold figures, behind the label."""
        first = self.pieces[0]
        found = [piece for piece in self.pieces[1:] if piece.is_figure]
        # a year in front is what the row is about
        return [first, *found] if first.is_figure and found and (not first.is_year or found[0].is_year) else found

    @property
    def is_row(self) -> bool:
        figures = self.figures
        return any(not f.is_year and not _DASH.fullmatch(f.text) for f in figures) or (
            bool(figures) and not all(f.is_year for f in figures) and not self.pieces[0].is_figure
        )

    @property
    def is_prose(self) -> bool:
        return any(piece.text.count(" ") + 1 >= _PROSE_WORDS for piece in self.pieces) and not self.figures


@dataclass(slots=True)
class _Table:
    above: list[_Line]  # its heads, its unit, and what stands above them
    lines: list[_Line] = field(default_factory=list)


def table_rows(letters: Letters, ordered: Ordered) -> list[TableRow]:
    """Return the rows with figures of the tables of a page, from the top."""
    lines = list(_lines(letters, ordered))
    return [row for table in _tables(lines) for row in _rows(table)]


def _lines(letters: Letters, ordered: Ordered) -> Iterator[_Line]:
    shown = normalize(ordered.raw)
    places, aligned = Places(letters), alignment(ordered.raw)
    sizes = {start: size for start, _, size in ordered.lines}
    size = 10.0
    start = 0
    for line in shown.split("\n"):
        words = [match.span() for match in _WORD.finditer(shown, start, start + len(line))]
        if words:
            size = sizes.get(aligned[words[0][0]], size)
            pieces = list(_pieces(shown, words, ordered, places, aligned, size))
            if pieces:
                yield _Line(words[0][0], words[-1][1], pieces)
        start += len(line) + 1


def _pieces(
    shown: str,
    words: list[tuple[int, int]],
    ordered: Ordered,
    places: Places,
    aligned: list[int],
    size: float,
) -> Iterator[_Piece]:
    piece: _Piece | None = None
    for start, end in words:
        sides = places.span(ordered.origin(aligned[start]), ordered.origin(aligned[end - 1]))
        word = shown[start:end]
        if sides is None:
            continue
        if piece and _belongs(piece, word, sides[0] - piece.right, size):
            piece.text = f"{piece.text} {word}"
            piece.end, piece.right = end, max(piece.right, sides[1])
            continue
        if piece:
            yield piece
        piece = _Piece(word, start, end, *sides)
    if piece:
        yield piece


def _belongs(piece: _Piece, word: str, gap: float, size: float) -> bool:
    if piece.text in _CURRENCY or piece.text in ("(", f"{_CURRENCY}("):
        return True  # "$" stands at the left edge of a column of figures
    if word in _CURRENCY:
        return False
    if word in (")", "%", ")%", "%)"):
        return piece.is_figure or piece.text.startswith("(")
    if piece.is_figure and (word[0] in _CURRENCY or _NUMBER.fullmatch(word)):
        return False
    return gap < _CELL_GAP * size


def _tables(lines: Sequence[_Line]) -> Iterator[_Table]:
    table: _Table | None = None
    above: list[_Line] = []
    for line in lines:
        if not line.is_row:
            above.append(line)
            continue
        between = above[-_MAX_HEAD_LINES:]
        if table and not any(map(_is_head, between)) and _fits(table, line):
            table.lines += between  # words between rows; a long one is not the end of a table that goes on below it
        else:
            if table:
                yield table
            table = _Table(between)
        table.lines.append(line)
        above = []
    if table:
        yield table


def _fits(table: _Table, line: _Line) -> bool:
    """Return whether every figure of a row stands in a column of the table."""
    columns = _columns(table)
    return all(any(piece.overlaps(*column) for column in columns) for piece in line.figures)


def _is_head(line: _Line) -> bool:
    """Return whether a line is one of heads: years, or several cells without a figure."""
    figures = line.figures or [piece for piece in line.pieces if piece.is_year]
    return bool(figures) and all(piece.is_year for piece in figures)


def _rows(table: _Table) -> Iterator[TableRow]:
    columns = _columns(table)
    if not columns:
        return
    heads = _heads(table, columns)
    unit = _unit(table)
    group, label = "", ""
    for line in table.lines:
        figures = line.figures
        words = " ".join(piece.text for piece in line.pieces if piece not in figures).rstrip(" .…:#")
        if not line.is_row:
            label = words
            group = words if line.pieces[-1].text.endswith(":") else group
            continue
        wrapped = label and words[:1].islower()
        cells = tuple(Cell(heads[_column_of(columns, piece)], piece.text, piece.start, piece.end) for piece in figures)
        full = f"{label} {words}" if wrapped else words
        yield TableRow(line.start, line.end, full or group, cells, unit)
        label = ""


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


def _column_of(columns: list[tuple[float, float]], piece: _Piece) -> int:
    def shared(number: int) -> float:
        return min(piece.right, columns[number][1]) - max(piece.left, columns[number][0])

    return max(range(len(columns)), key=shared)


def _heads(table: _Table, columns: list[tuple[float, float]]) -> list[str]:
    """Return the words above each column, from the top, without titles, which begin above the labels or the unit."""
    heads: list[list[str]] = [[] for _ in columns]
    first, width = columns[0][0], columns[0][1] - columns[0][0]
    for line in reversed(table.above):
        pieces = [piece for piece in line.pieces if piece.right > first and not _UNIT.fullmatch(piece.text)]
        if line.is_prose or (pieces and len(line.pieces) == 1 and pieces[0].left < first - 1.5 * width):
            break
        if not pieces:
            if any(heads) and any(_UNIT.search(piece.text) for piece in line.pieces):
                break  # what stands above the unit is the title
            continue
        for piece, spanned in zip(pieces, _spanned(pieces, columns), strict=True):
            for number in spanned:
                heads[number].insert(0, piece.text)
    return [_last_words(" ".join(words)) for words in heads]


def _last_words(text: str) -> str:
    """Return the end of a long head, which stands next to the figures, from a whole word on."""
    return text if len(text) <= _MAX_HEAD else text[-_MAX_HEAD:].partition(" ")[2] or text[-_MAX_HEAD:]


def _spanned(pieces: list[_Piece], columns: list[tuple[float, float]]) -> list[range]:
    """Return the columns under each head of a line: those it overlaps, and for a period those it is centered over."""
    pitch = (columns[-1][1] - columns[0][0]) / len(columns)
    own = [_overlapped(piece, columns, reach=pitch / 4) for piece in pieces]
    spans: list[range] = []
    for number, (piece, under) in enumerate(zip(pieces, own, strict=True)):
        taken = {column for other, spanned in enumerate(own) if other != number for column in spanned}
        if under and (piece.right - piece.left > pitch or _PERIOD.search(piece.text)):
            center = (piece.left + piece.right) / 2
            wider = (
                range(low, high + 1)
                for low in range(under.start + 1)
                for high in range(under.stop - 1, len(columns))
                if abs((columns[low][0] + columns[high][1]) / 2 - center) < pitch / 3
                and not taken.intersection(range(low, high + 1))
            )
            under = max([under, *wider], key=len)
        spans.append(under)
    return spans


def _overlapped(piece: _Piece, columns: list[tuple[float, float]], *, reach: float) -> range:
    under = [n for n, (left, right) in enumerate(columns) if piece.left < right + reach and piece.right > left - reach]
    if not under:
        return range(0)
    exactly = [n for n in under if piece.overlaps(*columns[n], 0.0)]
    chosen = exactly or under[:1]
    return range(chosen[0], chosen[-1] + 1)


def _unit(table: _Table) -> str:
    for line in reversed(table.above):
        for piece in reversed(line.pieces):
            if found := _UNIT.search(piece.text):
                return next(part for part in found.groups() if part).strip(" .:;")
    return ""

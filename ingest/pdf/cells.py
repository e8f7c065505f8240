"""The lines of a page as cells: what stands between wide blanks, and which of it are figures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ingest.pdf.letters import Letters
from ingest.pdf.order import Ordered
from ingest.pdf.segments import Places
from ingest.pdf.text import alignment, normalize

_WORD = re.compile(r"[^\s]+")
_CURRENCY = "$€£¥₹"
_NUMBER = re.compile(
    rf"[-–—−+(\[]*[{_CURRENCY}]?\s?[-–—−(]?(?:\d[\d.,'’\u202f ]*\d|\d)(?:[.,]\d+)?\s?[%)\]]*[¹²³⁰-⁹ᵃᵇᶜᵈᵉᶠᵍʰ]*"
    r"(?:\(\d{1,2}\)|\s?\((?:[a-z]|[¹²³⁰-⁹]{1,2})\))?|"
    rf"[{_CURRENCY}]?\s?[-–—]\s?%?|(?i:n/?[am]\.?)"
)
_DASH = re.compile(rf"[{_CURRENCY}]?\s?[-–—]\s?%?|(?i:n/?[am]\.?)")
_THOUSANDS = re.compile(r"[-–—(]?\d{1,3}(?: \d{3})*"), re.compile(r"\d{3}(?:[,.]\d+)?[)%]?")  # "12" and "450"
_YEAR = re.compile(
    r"(?:(?:FY|CY|Q[1-4])\s?)?(?:1[89]|20)\d\d(?:\s?[AEFPae]|/\d\d)?[¹²³⁰-⁹]*(?:\([a-z\d¹²³⁰-⁹]\)| ?\[\d+\])?"
)
_REFERENCE = re.compile(r"\[\d+\]")  # to a footnote
_CELL_GAP = 0.75  # in sizes of the type; wider blanks part cells
_WORD_GAP = 0.6  # in sizes; no wider blank parts the thousands of a figure
PROSE_WORDS = 10  # in one cell of a line, at least


@dataclass(slots=True)
class Piece:
    """What stands in one cell of a line."""

    text: str
    start: int
    end: int
    left: float
    right: float
    base: float  # points down the page

    @property
    def is_figure(self) -> bool:
        return bool(_NUMBER.fullmatch(self.text))

    @property
    def words(self) -> int:
        return self.text.count(" ") + 1

    @property
    def is_year(self) -> bool:
        return bool(_YEAR.fullmatch(self.text))

    def overlaps(self, left: float, right: float, share: float = 0.3) -> bool:
        shared = min(self.right, right) - max(self.left, left)
        return shared > share * min(self.right - self.left, right - left)


@dataclass(slots=True)
class Line:
    start: int
    end: int
    pieces: list[Piece]
    size: float  # of its type

    @property
    def base(self) -> float:
        return self.pieces[0].base

    @property
    def figures(self) -> list[Piece]:
        """The cells that hold figures, behind the label."""
        first = self.pieces[0]
        found = [piece for piece in self.pieces[1:] if piece.is_figure]
        # a year in front is what the row is about
        return [first, *found] if first.is_figure and found and (not first.is_year or found[0].is_year) else found

    @property
    def is_row(self) -> bool:
        figures = self.figures
        if figures and figures[-1] is not self.pieces[-1] and any(piece.words >= PROSE_WORDS for piece in self.pieces):
            return False  # a sentence with a figure in it
        return any(not f.is_year and not _DASH.fullmatch(f.text) for f in figures) or (
            bool(figures) and not all(f.is_year for f in figures) and not self.pieces[0].is_figure
        )

    @property
    def is_prose(self) -> bool:
        return any(piece.words >= PROSE_WORDS for piece in self.pieces) and not self.figures


def cell_lines(letters: Letters, ordered: Ordered) -> Iterator[Line]:
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
                yield Line(words[0][0], words[-1][1], pieces, size)
        start += len(line) + 1


def _pieces(
    shown: str,
    words: list[tuple[int, int]],
    ordered: Ordered,
    places: Places,
    aligned: list[int],
    size: float,
) -> Iterator[Piece]:
    piece: Piece | None = None
    for start, end in words:
        first = ordered.origin(aligned[start])
        sides, base = places.span(first, ordered.origin(aligned[end - 1])), places.base(first)
        word = shown[start:end]
        if sides is None or base is None:
            continue
        if piece and _belongs(piece, word, sides[0] - piece.right, size):
            piece.text = f"{piece.text} {word}"
            piece.end, piece.right = end, max(piece.right, sides[1])
            continue
        if piece:
            yield piece
        piece = Piece(word, start, end, *sides, base)
    if piece:
        yield piece


def _belongs(piece: Piece, word: str, gap: float, size: float) -> bool:
    if piece.text in _CURRENCY or piece.text in ("(", f"{_CURRENCY}("):
        return True  # "$" stands at the left edge of a column of figures
    if word in _CURRENCY:
        return False
    if word in (")", "%", ")%", "%)"):
        return piece.is_figure or piece.text.startswith("(")
    if gap < _CELL_GAP * size and piece.is_year and _REFERENCE.fullmatch(word):
        return True
    if gap < _WORD_GAP * size and all(map(re.Pattern.fullmatch, _THOUSANDS, (piece.text, word))):
        return True
    if piece.is_figure and (word[0] in _CURRENCY or _NUMBER.fullmatch(word)):
        return False
    return gap < _CELL_GAP * size

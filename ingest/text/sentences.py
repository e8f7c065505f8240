"""Cuts text into sentences and table rows with their exact place, and into words to compare; it knows no model."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass

WORD = re.compile(r"[^\W_]+(?:[.,'’][^\W_]+)*")
NUMBER = re.compile(r"\d[\d,.]*\d|\d")
_ENDS = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9])|\n\s*\n")
_ABBREVIATIONS = re.compile(
    r"(?:\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|No|Inc|Corp|Co|Ltd|vs|cf|Fig|Sec|St|Jr|Sr|Nos|approx|e\.g|i\.e|U\.S|U\.K))\.$"
)

# Words that say nothing about the subject of a question.
STOP_WORDS = frozenset(
    [
        "a",
        "about",
        "above",
        "after",
        "again",
        "all",
        "also",
        "am",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "because",
        "been",
        "before",
        "being",
        "below",
        "between",
        "both",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "doing",
        "down",
        "during",
        "each",
        "few",
        "for",
        "from",
        "further",
        "give",
        "given",
        "had",
        "has",
        "have",
        "having",
        "he",
        "her",
        "here",
        "hers",
        "him",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "itself",
        "just",
        "me",
        "more",
        "most",
        "my",
        "no",
        "nor",
        "not",
        "now",
        "of",
        "off",
        "on",
        "once",
        "only",
        "or",
        "other",
        "our",
        "ours",
        "out",
        "over",
        "own",
        "please",
        "same",
        "she",
        "should",
        "so",
        "some",
        "such",
        "tell",
        "than",
        "that",
        "the",
        "their",
        "theirs",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "through",
        "to",
        "too",
        "under",
        "until",
        "up",
        "us",
        "very",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "while",
        "who",
        "whom",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
        "yours",
    ]
)


@dataclass(frozen=True)
class Unit:
    """One sentence or table row: `text` is the source from `start` to `end`, verbatim."""

    start: int
    end: int
    text: str


def units(text: str, *, margins: Iterable[tuple[int, int]] = ()) -> list[Unit]:
    """Return the sentences and table rows of `text` in order, without those that lie in a running header or footer.

    A line that holds two numbers or more is a table row and stands alone; other lines flow together into sentences.
    """
    found: list[Unit] = []
    for start, end in _blocks(text, margins):
        cuts = [start]
        for match in _ENDS.finditer(text, start, end):
            if not _ABBREVIATIONS.search(text, start, match.start()):
                cuts.append(match.end())
        cuts.append(end)
        for left, right in itertools.pairwise(cuts):
            unit = _trimmed(text, left, right)
            if unit is not None:
                found.append(unit)
    return found


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, simplest plural and verb endings removed, stop words left out."""
    return [_stem(word) for word in _folded(text) if word not in STOP_WORDS]


def numbers(text: str) -> set[str]:
    """Return the numbers of a text without thousands separators, e.g. {'1577', '2018', '3.5'}."""
    return {match.replace(",", "").rstrip(".") for match in NUMBER.findall(text)}


def is_table_row(line: str) -> bool:
    """Say whether a line reads like a row of a table: two numbers or more and more figures than prose."""
    figures = NUMBER.findall(line)
    return len(figures) >= 2 and len(WORD.findall(line)) <= 3 * len(figures) + 8 and not line.rstrip().endswith(".")


def _blocks(text: str, margins: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """Yield the stretches within which sentences may run on: what lies between margins and table rows, and each row."""
    left = 0
    for start, end in [*sorted(margins), (len(text), len(text))]:
        if left < start:
            yield from _rows(text, left, start)
        left = max(left, end)


def _rows(text: str, start: int, end: int) -> Iterable[tuple[int, int]]:
    position = start
    for line in text[start:end].splitlines(keepends=True):
        after = position + len(line)
        if is_table_row(line):
            if start < position:
                yield start, position
            yield position, after
            start = after
        position = after
    if start < position:
        yield start, position


def _trimmed(text: str, start: int, end: int) -> Unit | None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return Unit(start, end, text[start:end]) if end > start else None


def _folded(text: str) -> Iterable[str]:
    return (match.group().lower().replace("’", "'") for match in WORD.finditer(text))


def _stem(word: str) -> str:
    word = word.removesuffix("'s").replace(",", "")
    for ending, rest in (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", "e"), ("s", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith(("ss", "us", "is")):
            word = word[: len(word) - len(ending)] + rest
            break
    return word.rstrip("e") if len(word) > 4 else word

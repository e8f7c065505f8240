"""Sentences and table rows of a text in any script, with their exact places."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ingest.text.tables import is_table_row

# Sentences end with a stop and white space, with a full stop of Chinese or Japanese, or with a blank line.
_BREAK = re.compile(
    r"""
    (?<=\S[.!?…؟।]) (?:\s?»|[)\]”"’'])* [^\S\n]*\n?[^\S\n]* (?<=\s) (?=(?:«\s?|[“"‘'(\[„¿¡])*(?P<next>[^\W_]))
    |(?<=[。！？]) [」』）”]* \s*
    |\n\s*\n\s*
    """,
    re.VERBOSE,
)
# A stop behind one letter or one of these ends no sentence: abbreviations of English, German, French and Russian.
_ABBREVIATION = re.compile(
    r"""\b(?:[^\W\d_]
    |Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Inc|Corp|Co|Ltd|No|Nos|vs|cf|Fig|Figs|Sec|Eq|Vol|approx|et\ al
    |Nr|bzw|ca|Abs|Art|Abb|vgl|Mme|ул|стр|рис|табл
    )\.$""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Sentence:
    """One sentence or table row: `text` is the source from `start` to `end`, verbatim."""

    start: int
    end: int
    text: str


def split_sentences(text: str, *, skip: Iterable[tuple[int, int]] = ()) -> list[Sentence]:
    """Return the sentences and table rows of `text` in order; the ranges in `skip` belong to none of them.

    A table row is a sentence of its own; other lines flow together.
    """
    found: list[Sentence] = []
    for start, end in _blocks(text, skip):
        left = start
        for right, following in [*sentence_breaks(text, start, end), (end, end)]:
            stripped = text[left:right].strip()
            if stripped:
                begin = text.index(stripped, left)
                found.append(Sentence(begin, begin + len(stripped), stripped))
            left = following
    return found


def sentence_breaks(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where each sentence between `start` and `end` ends and where the next one begins."""
    for match in _BREAK.finditer(text, start, end):
        following = match["next"]
        if following is not None:
            before = text[max(0, match.start() - 8) : match.start()]
            if following.islower() or _ABBREVIATION.search(before):
                continue
        yield match.start() + len(match.group().rstrip()), match.end()


def _blocks(text: str, skip: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the ranges within which sentences may run on: each table row, and what lies between rows and skipped ranges."""
    left = 0
    for start, end in [*sorted(skip), (len(text), len(text))]:
        if left < start:
            yield from _rows(text, left, start)
        left = max(left, end)


def _rows(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
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

"""The statements of passages: sentences and table rows, without the headings in front of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from assistant.retrieval.search import Passage
from ingest import is_table_row, split_sentences

MAX_STATEMENT = 300  # characters; a longer sentence, such as a list or a table of words, is cut at a line
_MAX_HEADING = 100  # characters
_MIN_WORDS = 4  # fewer say nothing without what stands around them
_FULL_LINE = 0.75  # of the width of the text; a line that ends before, though the next word would fit, ends by intent
_WORD = re.compile(r"[^\W\d_]{2,}")
_STOP = re.compile(r"[.!?…。！？؟।:;][)\]”\"’'»]*$")


@dataclass(frozen=True)
class Statement:
    """A sentence or table row: `text` is that of a passage from `start` to `end`."""

    passage: int  # its place among those compared
    block: int  # a running header or footer stands between two blocks of a passage
    start: int
    end: int
    text: str
    heading: str  # the lines or the question that it stands under
    is_row: bool
    is_fragment: bool  # a heading, a label or a question: says nothing by itself


def read_statements(passage: Passage, number: int = 0) -> list[Statement]:
    """Return the statements of a passage in order; running headers and footers belong to none."""
    return list(_read(passage, number))


def _read(passage: Passage, number: int) -> Iterator[Statement]:
    heading, follows_heading = "", False
    for start, end in _spans(passage):
        text = passage.text[start:end]
        is_row = "\n" not in text and is_table_row(text)
        is_heading = not is_row and _is_heading(text)
        is_fragment = is_heading or (not is_row and len(_WORD.findall(text)) < _MIN_WORDS)
        block = sum(left < start for left, _ in passage.margins)
        yield Statement(number, block, start, end, text, heading, is_row, is_fragment)
        if is_heading:
            heading = f"{heading} {text}" if follows_heading else text
        follows_heading = is_heading


def _is_heading(text: str) -> bool:
    return text.endswith("?") or ("\n" not in text and len(text) < _MAX_HEADING and not _STOP.search(text))


def _spans(passage: Passage) -> list[tuple[int, int]]:
    lengths = sorted(len(line) for line in passage.text.splitlines() if line.strip())
    width = lengths[9 * len(lengths) // 10] if lengths else 0
    found: list[tuple[int, int]] = []
    for sentence in split_sentences(passage.text, skip=passage.margins):
        for left, right in _parts(sentence.text, width):
            start, end = sentence.start + left, sentence.start + right
            if found and _goes_on(passage.text, *found[-1], start, end):
                start = found.pop()[0]
            found.append((start, end))
    return [part for start, end in found for part in _cut(passage.text, start, end)]


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > MAX_STATEMENT:
        limit = start + MAX_STATEMENT
        stop = max(
            text.rfind("\n", start + 1, limit),
            text.rfind(" ", start + 1, limit) if "\n" not in text[start:limit] else -1,
        )
        stop = stop if stop > start else limit
        yield start, start + len(text[start:stop].rstrip())
        start = stop + len(text[stop:end]) - len(text[stop:end].lstrip())
    yield start, end


def _parts(text: str, width: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a sentence as it was split: headings are lines that end by intent before a capital letter."""
    left = place = 0
    for line, following in pairwise(text.splitlines(keepends=True)):
        place += len(line)
        word, ended = (following.split() or [""])[0], line.rstrip()
        if word[:1].isupper() and len(ended) + 1 + len(word) < _FULL_LINE * width and ended[-1:] not in (",", ";"):
            yield left, left + len(text[left:place].rstrip())
            left = place
    yield left, len(text)


def _goes_on(text: str, start: int, end: int, following: int, last: int) -> bool:
    """Return whether a sentence goes on: a line of prose with two figures reads like a row of a table."""
    gap, before, after = text[end:following], text[start:end], text[following:last]
    if gap.strip() or gap.count("\n") > 1 or not (before[-1].isalpha() and after[0].islower()):
        return False
    return is_table_row(before.rpartition("\n")[2]) or is_table_row(after)

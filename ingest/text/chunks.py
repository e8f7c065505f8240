"""Splits pages into chunks of bounded size and known place on the page.

The splitter is our own: langchain-text-splitters imports langchain-core (1.6 s, in every parser process), cuts lines
without regard to sentences, and gives no character range where a text repeats.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingest.files.names import file_name
from ingest.text.sentences import sentence_breaks
from ingest.text.words import name_words

if TYPE_CHECKING:  # a question needs chunks, and no reader of PDFs
    from ingest.pdf.read import PDF, Page

# any fixed value; chunk ids must not change between versions
_NAMESPACE = uuid.UUID("6f2b1c0e-3d55-5e0a-9a57-0d8f5c1c7d11")
_MIN_FILL = 0.7  # share of the size that a chunk has at least; 0.5 makes a fifth more chunks to embed
_OPENING_LINES = 3
_OPENING_CHARACTERS = 140  # about 30 tokens: with the name and 500 characters of text well below the model's 256
_SAME_BEGINNING = 40  # characters that tell whether a chunk opens its page
_WORD = re.compile(r"[^\W\d_]{3}")

_Breaks = Callable[[str, int, int], Iterator[tuple[int, int]]]  # where a part ends and where the next one begins


def _breaks_at(pattern: str) -> _Breaks:
    compiled = re.compile(pattern)
    return lambda text, start, end: (match.span() for match in compiled.finditer(text, start, end))


_paragraph_breaks = _breaks_at(r"\n\s*\n\s*")
_line_breaks = _breaks_at(r"\n\s*")
_word_breaks = _breaks_at(r"\s+")


@dataclass(frozen=True)
class Chunk:
    """One piece of a page as it is stored: `text` is the page's text from `start` to `end`, verbatim."""

    id: str  # UUID5 of document id, bytes hash, chunking settings and position
    document_id: str
    document: str  # display name
    page: int  # 1-based
    page_label: str
    start: int  # character range on the page's text
    end: int
    text: str
    heading: str = ""  # what the page is about, see page_heading
    running_lines: tuple[tuple[int, int], ...] = ()  # running header and footer ranges, relative to `text`
    parser: str = ""  # or the OCR engine that read the page

    @property
    def ocr(self) -> bool:
        """Whether the page is a picture that OCR read."""
        return bool(self.parser) and not self.parser.startswith("pypdf")

    @property
    def body(self) -> str:
        """The text without running headers and footers; "" for a chunk that is nothing else."""
        kept, last = [], 0
        for start, end in self.running_lines:
            kept.append(self.text[last:start])
            last = end
        return "".join([*kept, self.text[last:]]).strip()


def split(pdf: PDF, *, document_id: str, document: str, sha256: str, size: int, overlap: int) -> list[Chunk]:
    """Return chunks of at most `size` characters; neighbors on a page share up to `overlap` characters.

    Every character except white space is in one of them.
    """
    settings = f"{document_id}\n{sha256}\n{size}/{overlap}"
    return [
        Chunk(
            id=str(uuid.uuid5(_NAMESPACE, f"{settings}\n{page.number}:{start}-{end}")),
            document_id=document_id,
            document=document,
            page=page.number,
            page_label=page.label,
            start=start,
            end=end,
            text=page.text[start:end],
            heading=heading,
            running_lines=_running_lines_within(page, start, end),
            parser=page.ocr or pdf.parser,
        )
        for page, heading in zip(pdf.pages, map(page_heading, pdf.pages), strict=True)
        for start, end in ranges(page.text, size=size, overlap=overlap)
    ]


def ranges(text: str, *, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of chunks of at most `size` characters, without white space at their ends."""
    start = _skip_white_space(text, 0)
    while start < len(text):
        covered = _cut(text, start, size)
        end = start + len(text[start:covered].rstrip())
        yield start, end
        following = _skip_white_space(text, covered)
        if following >= len(text):
            return
        start = _next_start(text, end, following, size, min(overlap, end - start - 1))


def page_heading(page: Page) -> str:
    """Return what a page is about: its first lines without running headers, then its headings, joined with " | "."""
    opening: list[str] = []
    place = 0
    for line in page.text.splitlines(keepends=True):
        start, place = place, place + len(line)
        runs = any(left <= start + len(line) // 2 < right for left, right in page.running_lines)
        if not runs and _WORD.search(line):
            opening.append(line.strip())
        if len(opening) == _OPENING_LINES:
            break
    first = " ".join(opening)[:_OPENING_CHARACTERS]
    return " | ".join(dict.fromkeys([first, *(heading for heading in page.headings if heading not in first)]))


def embedding_text(chunk: Chunk, *, source: str, title: str) -> str:
    """Return what is embedded and text-indexed: the file name's words, the title's others, the page's opening, the body.

    A table's rows do not say what they are rows of; the page's first lines do (docs/retrieval.md has the figures).
    """
    words = name_words(file_name(source))
    known = {word.casefold() for word in re.findall(r"\w+", words)}
    added = [word for word in title.split() if not _known(word, known)]
    head = " ".join([*words.split(), *added])
    opening = chunk.heading.split(" | ")[0]
    if chunk.body.replace("\n", " ").startswith(opening[:_SAME_BEGINNING]):
        opening = ""
    return "\n".join(part for part in (head, opening, chunk.body) if part)


def _known(word: str, known: set[str]) -> bool:
    parts = re.findall(r"\w+", word.casefold())
    return all(part in known for part in parts)


def _cut(text: str, start: int, size: int) -> int:
    """Return the best place to end the chunk that begins at `start`: after a paragraph, sentence, line or word."""
    limit = start + size
    if len(text) <= limit:
        return len(text)
    earliest = start + max(1, int(size * _MIN_FILL))
    for breaks in (_paragraph_breaks, sentence_breaks, _line_breaks, _word_breaks):
        # White space after the limit costs nothing: it is left out of the chunk.
        last = max((following for end, following in breaks(text, earliest, limit + 1) if end <= limit), default=0)
        if last > earliest:
            return last
    while limit > earliest and unicodedata.combining(text[limit]):
        limit -= 1  # an accent stays with its letter
    return limit


def _next_start(text: str, end: int, following: int, size: int, overlap: int) -> int:
    """Return where the next chunk begins: up to `overlap` before `end`, at a sentence, line or word.

    At most half of a chunk repeats the one before, so that each brings new text.
    """
    earliest = max(end - overlap, following - size // 2)
    if earliest >= end:
        return following
    # Inside a line the overlap may begin at a word; between lines, half a line would mean nothing.
    within_line = "\n" not in text[end:following] and "\n" not in text[earliest:end]
    for breaks in (sentence_breaks, _line_breaks, _word_breaks)[: 3 if within_line else 2]:
        for _, start in breaks(text, max(0, earliest - 1), end):
            if earliest <= start < end:
                return start
    return following


def _skip_white_space(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def _running_lines_within(page: Page, start: int, end: int) -> tuple[tuple[int, int], ...]:
    return tuple((max(a, start) - start, min(b, end) - start) for a, b in page.running_lines if a < end and b > start)

"""Citations: the words of a passage that support a statement of an answer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from assistant.retrieval.search import Passage
from ingest import TableRow, content_terms, is_table_row, numbers


@dataclass(frozen=True)
class Citation:
    """One cited place and its number; `quote` is the page's text from `start` to `end`, verbatim.

    An answer has one for each place that its statements rest on, so several may have one number.

    `rows` are rows of a table in it that answer best, each with its column heads and unit. `answer` is the part of the
    first quote that answers in fewest words.
    """

    number: int
    document: str
    document_id: str
    page: int
    page_label: str
    start: int
    end: int
    quote: str
    ocr: bool = False  # the page is a picture that OCR read
    rows: tuple[str, ...] = ()
    by: str = "house"  # who found the passage for the statement: "model" or "house"
    answer_start: int = 0  # on the page, as `start`
    answer_end: int = 0  # 0 where nothing is marked as the answer

    @property
    def answer(self) -> str:
        """Return the part of the quote that answers, "" if none is marked."""
        return self.quote[self.answer_start - self.start : self.answer_end - self.start] if self.answer_end else ""

    def as_dict(self) -> dict[str, object]:
        """Return the object that `quire ask --json` prints."""
        return {
            "number": self.number,
            "document": self.document,
            "page": self.page,
            "page_label": self.page_label,
            "quote": self.quote,
            "rows": list(self.rows),
            "answer": self.answer,
            "answer_start": self.answer_start,
            "answer_end": self.answer_end,
            "document_id": self.document_id,
            "start": self.start,
            "end": self.end,
            "ocr": self.ocr,
            "by": self.by,
        }


@dataclass(frozen=True)
class Span:
    """A part of an answer's text."""

    start: int
    end: int
    text: str

    def as_dict(self) -> dict[str, object]:
        """Return the object that `quire ask --json` prints."""
        return {"start": self.start, "end": self.end, "text": self.text}


def idf_weights(question: str, texts: Sequence[str]) -> dict[str, float]:
    """Return the weight of each word and number of a question: its inverse document frequency in the texts."""
    wanted = terms_and_numbers(question)
    documents: Counter[str] = Counter()
    for text in texts:
        documents.update(wanted & terms_and_numbers(text))
    return {word: math.log(1 + len(texts) / (0.5 + documents[word])) for word in wanted}


def share(text: str, weights: dict[str, float]) -> float:
    """Return the share of the weights whose words a text contains, 0 to 1."""
    total = sum(weights.values())
    present = terms_and_numbers(text)
    return sum(weight for word, weight in weights.items() if word in present) / total if total else 0.0


def terms_and_numbers(text: str) -> set[str]:
    """Return content terms and whole numbers; the digits of 1,577 are one number, not two terms."""
    return {term for term in content_terms(text) if not term.isdigit()} | numbers(text)


def cite_range(number: int, passage: Passage, start: int, end: int, *, by: str = "house") -> Citation:
    """Return the citation of a range of the passage's text."""
    return Citation(
        number=number,
        document=passage.document,
        document_id=passage.document_id,
        page=passage.page,
        page_label=passage.page_label,
        start=passage.start + start,
        end=passage.start + end,
        quote=passage.text[start:end],
        ocr=passage.ocr,
        by=by,
    )


def with_rows(citation: Citation, passage: Passage, tables: Callable[[Passage], list[TableRow]]) -> Citation:
    """Return a citation with the rows of a table that it quotes, each with its column heads and unit."""
    if not any(map(is_table_row, citation.quote.splitlines())):
        return citation
    rows = [str(row) for row in tables(passage) if citation.start <= row.start and row.end <= citation.end]
    return replace(citation, rows=tuple(rows))

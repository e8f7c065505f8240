"""Citations: the words of a passage that support each number of an answer."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assistant.answering.answer_filter import CITATION_MARK, cited_numbers
from assistant.retrieval.search import Passage
from ingest import Sentence, content_terms, numbers, split_sentences

MIN_SUPPORT = 0.35  # share of a sentence's words that a passage must contain; chosen on hand-made true and false claims


@dataclass(frozen=True)
class Citation:
    """One cited number and its source; `quote` is the page's text from `start` to `end`, verbatim.

    `rows` are rows of a table in it that answer best, each with its column heads and unit.
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

    def as_dict(self) -> dict[str, object]:
        """Return the object that `quire ask --json` prints."""
        return {
            "number": self.number,
            "document": self.document,
            "page": self.page,
            "page_label": self.page_label,
            "quote": self.quote,
            "rows": list(self.rows),
            "document_id": self.document_id,
            "start": self.start,
            "end": self.end,
            "ocr": self.ocr,
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


def cite(text: str, passages: Sequence[Passage]) -> tuple[list[Citation], list[Span]]:
    """Return the citations of a filtered answer, by number, and the sentences that no passage supports.

    Number n is `passages[n - 1]`. A sentence is compared with the passages that it cites, or with all if it cites none.
    """
    claims: dict[int, list[str]] = {}
    unsupported: list[Span] = []
    for start, end, sentence in _claims(text):
        cited = [n for n in cited_numbers(sentence) if 1 <= n <= len(passages)]
        claim = CITATION_MARK.sub("", sentence).strip()
        for number in cited:
            claims.setdefault(number, []).append(claim)
        sources = [passages[n - 1] for n in cited] or list(passages)
        if content_terms(claim) and not _supported(claim, sources):
            unsupported.append(Span(start, end, sentence))
    citations = [_citation(number, passages[number - 1], cited_for) for number, cited_for in sorted(claims.items())]
    return citations, unsupported


def best_sentence(claim: str, text: str, *, margins: Sequence[tuple[int, int]] = ()) -> tuple[Sentence, float] | None:
    """Return the sentence or table row of `text` that supports a claim best, and its share of the claim's weight.

    Returns None if the text contains no sentence.
    """
    found = split_sentences(text, skip=margins)
    if not found:
        return None
    weights = idf_weights(claim, [sentence.text for sentence in found])
    scores = [share(sentence.text, weights) for sentence in found]
    best = max(range(len(found)), key=lambda i: (scores[i], -i))
    return found[best], scores[best]


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


def cite_range(number: int, passage: Passage, start: int, end: int) -> Citation:
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
    )


def _claims(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, text) of each sentence; a number after the full stop belongs to the sentence before it."""
    pending: tuple[int, int] | None = None
    for sentence in split_sentences(text):
        marks = re.match(r"(?:\[\d+\]\s*)+", sentence.text)
        start = sentence.start
        if marks is not None and pending is not None:
            pending = (pending[0], start + len(marks.group().rstrip()))
            start += marks.end()
        if start >= sentence.end:
            continue
        if pending is not None:
            yield pending[0], pending[1], text[pending[0] : pending[1]]
        pending = (start, sentence.end)
    if pending is not None:
        yield pending[0], pending[1], text[pending[0] : pending[1]]


def _supported(claim: str, passages: Sequence[Passage]) -> bool:
    text = "\n".join(f"{passage.document} {passage.heading} {passage.text}" for passage in passages)
    known = numbers(text)
    if any(number not in known for number in numbers(claim) if len(number) > 1):
        return False
    return share(text, dict.fromkeys(terms_and_numbers(claim), 1.0)) >= MIN_SUPPORT


def _citation(number: int, passage: Passage, claims: Sequence[str]) -> Citation:
    best = max(
        (
            found
            for claim in claims
            if (found := best_sentence(claim, passage.text, margins=passage.margins)) is not None
        ),
        key=lambda found: found[1],
        default=None,
    )
    start, end = (best[0].start, best[0].end) if best is not None else (0, len(passage.text))
    return cite_range(number, passage, start, end)

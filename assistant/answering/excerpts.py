"""The answer without a model: the sentences of passages that match a question best, verbatim."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from assistant.retrieval.search import Passage
from ingest import Sentence, content_terms, numbers, split_sentences

MAX_QUOTES = 3  # with more, people read none (11 questions on three manuals, docs/evaluation.md)
MAX_QUOTE_CHARACTERS = 360  # neighbors are added up to this size, because a table row alone says little
_BRACKETED_NUMBERS = re.compile(r"\[([\d,; –-]+)\]")
EXCERPTS = "These are excerpts from your documents, not an answer: no model is in use."


@dataclass(frozen=True)
class Citation:
    """One cited number and its source; `quote` is the page's text from `start` to `end`, verbatim."""

    number: int
    document: str
    document_id: str
    page: int
    page_label: str
    start: int
    end: int
    quote: str

    def as_dict(self) -> dict[str, object]:
        """Return the object that `quire ask --json` prints."""
        return {
            "number": self.number,
            "document": self.document,
            "page": self.page,
            "page_label": self.page_label,
            "quote": self.quote,
            "document_id": self.document_id,
            "start": self.start,
            "end": self.end,
        }


def select_quotes(question: str, passages: Sequence[Passage], *, limit: int = MAX_QUOTES) -> list[Citation]:
    """Return one quote from each of the first `limit` passages that contain text, in their order."""
    split: list[tuple[Passage, list[Sentence]]] = []
    for passage in passages:
        found = split_sentences(passage.text, skip=passage.margins)
        if found:
            split.append((passage, found))
        if len(split) == limit:
            break
    weights = idf_weights(question, [sentence.text for _, found in split for sentence in found])
    return [_quote(passage, found, weights) for passage, found in split]


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


def format_quote(citation: Citation) -> str:
    """Return a quote as an answer shows it: the lines of the page, then the number of the passage.

    A [12] inside the quoted text belongs to the document and is not a citation, so it gets round brackets.
    """
    lines = (" ".join(line.split()) for line in citation.quote.splitlines())
    text = _BRACKETED_NUMBERS.sub(r"(\1)", "\n".join(line for line in lines if line))
    return f"“{text}” [{citation.number}]"


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
    )


def _quote(passage: Passage, found: Sequence[Sentence], weights: dict[str, float]) -> Citation:
    scores = [share(sentence.text, weights) for sentence in found]
    best = max(range(len(found)), key=lambda i: (scores[i], -i))
    first, last = _grow(found, scores, best)
    return cite_range(passage.rank, passage, found[first].start, found[last].end)


def _grow(found: Sequence[Sentence], scores: Sequence[float], best: int) -> tuple[int, int]:
    first = last = best
    while True:
        sides = [
            (scores[i], i > best, i)
            for i in (first - 1, last + 1)
            if 0 <= i < len(found)
            and max(found[last].end, found[i].end) - min(found[first].start, found[i].start) <= MAX_QUOTE_CHARACTERS
        ]
        if not sides:
            return first, last
        chosen = max(sides)[2]  # the side that contains more of the question; if equal, what follows
        first, last = min(first, chosen), max(last, chosen)

"""Picks the words of passages that come nearest to a question, verbatim; no model, and nothing heavy to import."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from assistant.retrieval.search import Passage
from ingest import Sentence, content_terms, numbers, split_sentences

QUOTES = 3  # quotes shown: with more, people read none (11 questions on three manuals, docs/evaluation.md)
QUOTE_CHARACTERS = 360  # size a quote grows to by its neighbours; a table row alone says little
_NUMBER = re.compile(r"\[([\d,; –-]+)\]")
EXCERPTS = "These are excerpts from your documents, not an answer: no model is in use."


@dataclass(frozen=True)
class Quote:
    """One excerpt: `text` is the page's text from `start` to `end`, verbatim; `number` is its passage's rank."""

    number: int
    document: str
    document_id: str
    page: int
    page_label: str
    start: int
    end: int
    text: str
    score: float  # idf-weighted share of the question's words that stand in it, 0 to 1


def pick(question: str, passages: Sequence[Passage], *, limit: int = QUOTES) -> list[Quote]:
    """Return one quote a passage for the first `limit` passages, in their order."""
    cut: list[tuple[Passage, list[Sentence]]] = []
    for passage in passages:
        found = split_sentences(passage.text, skip=passage.margins)
        if found:
            cut.append((passage, found))
        if len(cut) == limit:
            break
    weights = weigh(question, [sentence.text for _, found in cut for sentence in found])
    return [_quote(passage, found, weights) for passage, found in cut]


def best_sentence(claim: str, text: str, *, margins: Sequence[tuple[int, int]] = ()) -> tuple[Sentence, float] | None:
    """Return the sentence or table row of `text` that supports a claim best and its share of the claim's weight.

    None where the text holds no sentence at all.
    """
    found = split_sentences(text, skip=margins)
    if not found:
        return None
    weights = weigh(claim, [sentence.text for sentence in found])
    scores = [share(sentence.text, weights) for sentence in found]
    best = max(range(len(found)), key=lambda i: (scores[i], -i))
    return found[best], scores[best]


def weigh(question: str, texts: Sequence[str]) -> dict[str, float]:
    """Return each word and number of a question with its idf among the texts; rare words weigh more."""
    wanted = terms_and_numbers(question)
    documents: Counter[str] = Counter()
    for text in texts:
        documents.update(wanted & terms_and_numbers(text))
    return {word: math.log(1 + len(texts) / (0.5 + documents[word])) for word in wanted}


def share(text: str, weights: dict[str, float]) -> float:
    """Return the share of the weight that stands in a text, 0 to 1."""
    total = sum(weights.values())
    present = terms_and_numbers(text)
    return sum(weight for word, weight in weights.items() if word in present) / total if total else 0.0


def terms_and_numbers(text: str) -> set[str]:
    """Return content terms and whole numbers; the digits of 1,577 are one number, not two terms."""
    return {term for term in content_terms(text) if not term.isdigit()} | numbers(text)


def line(quote: Quote) -> str:
    """Return a quote as an answer shows it: the lines of the page, with the number of its passage behind them.

    A [12] inside the quoted text is the document's own and no citation of ours, so it gets round brackets.
    """
    lines = (" ".join(text.split()) for text in quote.text.splitlines())
    text = "\n".join(text for text in lines if text)
    shown = _NUMBER.sub(r"(\1)", text)
    return f"“{shown}” [{quote.number}]"


def _quote(passage: Passage, found: Sequence[Sentence], weights: dict[str, float]) -> Quote:
    scores = [share(sentence.text, weights) for sentence in found]
    best = max(range(len(found)), key=lambda i: (scores[i], -i))
    first, last = _grow(found, scores, best)
    start, end = found[first].start, found[last].end
    return Quote(
        number=passage.rank,
        document=passage.document,
        document_id=passage.document_id,
        page=passage.page,
        page_label=passage.page_label,
        start=passage.start + start,
        end=passage.start + end,
        text=passage.text[start:end],
        score=scores[best],
    )


def _grow(found: Sequence[Sentence], scores: Sequence[float], best: int) -> tuple[int, int]:
    first = last = best
    while True:
        sides = [
            (scores[i], i > best, i)
            for i in (first - 1, last + 1)
            if 0 <= i < len(found)
            and max(found[last].end, found[i].end) - min(found[first].start, found[i].start) <= QUOTE_CHARACTERS
        ]
        if not sides:
            return first, last
        chosen = max(sides)[2]  # the side that says more of the question, else what follows
        first, last = min(first, chosen), max(last, chosen)

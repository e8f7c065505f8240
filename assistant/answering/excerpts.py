"""The answer without a model: the sentences of passages that match a question best, verbatim."""

from __future__ import annotations

import re
from collections.abc import Sequence

from assistant.answering.citations import Citation, cite_range, idf_weights, share
from assistant.retrieval.search import Passage
from ingest import Sentence, split_sentences

MAX_QUOTES = 3  # with more, people read none (11 questions on three manuals, docs/evaluation.md)
MAX_QUOTE_CHARACTERS = 360  # neighbors are added up to this size, because a table row alone says little
_BRACKETED_NUMBERS = re.compile(r"\[([\d,; –-]+)\]")
EXCERPTS = "These are excerpts from your documents, not an answer: no model is in use."


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


def format_quote(citation: Citation) -> str:
    """Return a quote as an answer shows it: the lines of the page, then the number of the passage.

    A [12] inside the quoted text belongs to the document and is not a citation, so it gets round brackets.
    """
    lines = (" ".join(line.split()) for line in citation.quote.splitlines())
    text = _BRACKETED_NUMBERS.sub(r"(\1)", "\n".join(line for line in lines if line))
    return f"“{text}” [{citation.number}]"


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

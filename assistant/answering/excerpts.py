"""The answer without a model: the sentences of passages that match a question best, verbatim."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from assistant.answering.citations import Citation, cite_range, idf_weights, share
from assistant.retrieval.search import Passage
from ingest import Sentence, TableRow, is_table_row, split_sentences

MAX_QUOTES = 3  # with more, people read none (11 questions on three manuals, docs/evaluation.md)
MAX_QUOTE_CHARACTERS = 360  # neighbors are added up to this size, because a table row alone says little
MAX_ROWS = 2  # of a table, shown with their column heads
_BRACKETED_NUMBERS = re.compile(r"\[([\d,; –-]+)\]")
EXCERPTS = "These are excerpts from your documents, not an answer: no model is in use."


def select_quotes(
    question: str,
    passages: Sequence[Passage],
    *,
    limit: int = MAX_QUOTES,
    tables: Callable[[Passage], list[TableRow]] | None = None,
) -> list[Citation]:
    """Return one quote from each of the first `limit` passages that contain text, in their order.

    `tables` gives the rows of the tables of a passage's page.
    """
    split: list[tuple[Passage, list[Sentence]]] = []
    for passage in passages:
        found = split_sentences(passage.text, skip=passage.margins)
        if found:
            split.append((passage, found))
        if len(split) == limit:
            break
    weights = idf_weights(question, [sentence.text for _, found in split for sentence in found])
    quotes = [_quote(passage, found, weights) for passage, found in split]
    if tables is None:
        return quotes
    return [_with_rows(quote, passage, weights, tables) for quote, (passage, _) in zip(quotes, split, strict=True)]


def format_quote(citation: Citation) -> str:
    """Return a quote as an answer shows it: the lines of the page, the number of the passage, and rows of its table.

    A [12] inside the quoted text belongs to the document and is not a citation, so it gets round brackets.
    """
    lines = (" ".join(line.split()) for line in citation.quote.splitlines())
    text = "\n".join(line for line in lines if line)
    first, *rows = (_BRACKETED_NUMBERS.sub(r"(\1)", part) for part in (text, *citation.rows))
    return "\n".join((f"“{first}” [{citation.number}]", *rows))


def _quote(passage: Passage, found: Sequence[Sentence], weights: dict[str, float]) -> Citation:
    scores = [share(sentence.text, weights) for sentence in found]
    best = max(range(len(found)), key=lambda i: (scores[i], -i))
    first, last = _grow(found, scores, best)
    return cite_range(passage.rank, passage, found[first].start, found[last].end)


def _with_rows(
    quote: Citation, passage: Passage, weights: dict[str, float], tables: Callable[[Passage], list[TableRow]]
) -> Citation:
    """Return the quote with the rows in it that contain most of the question."""
    if not any(map(is_table_row, quote.quote.splitlines())):
        return quote
    rows = [
        (share(str(row), weights), row) for row in tables(passage) if quote.start <= row.start and row.end <= quote.end
    ]
    best = sorted(rows, key=lambda scored: (-scored[0], scored[1].start))[:MAX_ROWS]
    chosen = sorted((row.start, str(row)) for score, row in best if score > 0 and score >= best[0][0] / 2)
    return replace(quote, rows=tuple(row for _, row in chosen))


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

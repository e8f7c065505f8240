"""The answer without a model: what answers in fewest words, then the best quotes, verbatim."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from assistant.answering.bearing import Bearing
from assistant.answering.citations import Citation, cite_range, idf_weights, share
from assistant.answering.statements import MAX_STATEMENT, Statement, read_statements
from assistant.retrieval.features import plain_years
from assistant.retrieval.search import Passage
from ingest import TableRow, is_table_row

MAX_QUOTES = 3  # with more, people read none (11 questions on three manuals, docs/evaluation.md)
MAX_QUOTE_CHARACTERS = 360  # neighbors are added up to this size, because a table row alone says little
MAX_ROWS = 2  # of a table, shown with their column heads
_HOLDS_FACT = 0.4  # of what is asked for, from which a statement answers by itself
_BRACKETED_NUMBERS = re.compile(r"\[([\d,; –-]+)\]")
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
EXCERPTS = "These are excerpts from your documents, not an answer: no model is in use."


def select_quotes(
    question: str,
    passages: Sequence[Passage],
    *,
    limit: int = MAX_QUOTES,
    tables: Callable[[Passage], list[TableRow]] | None = None,
) -> Iterator[Citation]:
    """Yield one quote from each of the first `limit` passages that contain text: the one that answers, then by rank.

    `tables` gives the rows of the tables of a passage's page, which takes longer than all the rest.
    """
    read = (read_statements(passage, number) for number, passage in enumerate(passages))
    statements = [statement for found in islice(filter(None, read), limit) for statement in found]
    bearing = Bearing(question, statements)
    best: dict[int, int] = {}  # of each passage that contains text
    for number, statement in enumerate(statements):
        if bearing.scores[number] > bearing.scores[best.setdefault(statement.passage, number)]:
            best[statement.passage] = number
    answering = max(best.values(), key=lambda number: bearing.scores[number], default=0)
    weights = idf_weights(question, [statement.text for statement in statements])
    for number in sorted(best.values(), key=lambda number: number != answering):
        passage = passages[statements[number].passage]
        quote = _quote(passage, statements, bearing.scores, number)
        if number == answering:
            quote = _with_answer(quote, passage, statements, bearing, number)
        yield quote if tables is None else _with_rows(quote, passage, weights, question, tables)


def format_quote(citation: Citation) -> str:
    """Return a quote as an answer shows it: the lines of the page, the number of the passage, and rows of its table.

    What answers comes first, in one line. A [12] inside the quoted text belongs to the document and is not a
    citation, so it gets round brackets.
    """
    lines = "\n".join(filter(None, (" ".join(line.split()) for line in citation.quote.splitlines())))
    quote = f"“{_in_round_brackets(lines)}” [{citation.number}]"
    rows = "".join(f"\n{_in_round_brackets(row)}" for row in citation.rows)
    if not citation.answer:
        return quote + rows
    answer = f"“{_in_round_brackets(' '.join(citation.answer.split()))}” [{citation.number}]{rows}"
    return answer if citation.answer == citation.quote else f"{answer}\n\n{quote}"


def _in_round_brackets(text: str) -> str:
    return _BRACKETED_NUMBERS.sub(r"(\1)", text)


def _quote(passage: Passage, statements: Sequence[Statement], scores: Sequence[float], best: int) -> Citation:
    first, last = _grow(statements, scores, best, range(len(statements)), MAX_QUOTE_CHARACTERS)
    if last > best and statements[last].is_fragment and statements[last].text[-1] not in ".!":
        last -= 1  # the heading of what follows
    if first < best and statements[first].is_fragment and statements[first].text[-1] in ".!":
        first += 1  # the end of a sentence
    return cite_range(passage.rank, passage, statements[first].start, statements[last].end)


def _with_answer(
    quote: Citation, passage: Passage, statements: Sequence[Statement], bearing: Bearing, best: int
) -> Citation:
    """Return the quote with its answer marked: the statement with the fact, else the sentences that explain it."""
    first = last = best
    if not statements[best].is_row and bearing.holds_answer(statements[best]) < _HOLDS_FACT:
        sentences = [i for i, s in enumerate(statements) if not s.is_row and not s.is_fragment]
        first, last = _grow(statements, bearing.scores, best, sentences, MAX_STATEMENT)
    start, end = passage.start + statements[first].start, passage.start + statements[last].end
    return replace(quote, answer_start=max(start, quote.start), answer_end=min(end, quote.end))


def _with_rows(
    quote: Citation,
    passage: Passage,
    weights: dict[str, float],
    question: str,
    tables: Callable[[Passage], list[TableRow]],
) -> Citation:
    """Return the quote with the rows in it that contain most of the question, of the year that it asks for."""
    if not any(map(is_table_row, quote.quote.splitlines())):
        return quote
    within = [row for row in tables(passage) if quote.start <= row.start and row.end <= quote.end]
    answering = [row for row in within if row.start < quote.answer_end and row.end > quote.answer_start]
    scored = [(share(str(row), weights), row) for row in answering or within]
    best = sorted(scored, key=lambda scored: (-scored[0], scored[1].start))[:MAX_ROWS]
    chosen = [row for score, row in best if score > 0 and score >= best[0][0] / 2]
    chosen.sort(key=lambda row: row.start)
    return replace(quote, rows=tuple(str(_of_year(row, question)) for row in chosen))


def _of_year(row: TableRow, question: str) -> TableRow:
    """Return the row with the cells of the year that a question asks for; the whole row if it asks for none or several."""
    years = set(_YEAR.findall(plain_years(question)))
    cells = tuple(cell for cell in row.cells if years.intersection(_YEAR.findall(cell.head)))
    return replace(row, cells=cells) if len(years) == 1 and cells else row


def _grow(
    statements: Sequence[Statement], scores: Sequence[float], best: int, allowed: Container[int], limit: int
) -> tuple[int, int]:
    """Return the first and last of the `allowed` statements around `best` that fit, of one passage."""
    first = last = best
    while True:
        sides = [
            (scores[i], i > best, i)
            for i in (first - 1, last + 1)
            if 0 <= i < len(statements)
            and i in allowed
            and (statements[i].passage, statements[i].block) == (statements[best].passage, statements[best].block)
            and max(statements[last].end, statements[i].end) - min(statements[first].start, statements[i].start)
            <= limit
        ]
        if not sides:
            return first, last
        chosen = max(sides)[2]  # the side that contains more of the question; if equal, what follows
        first, last = min(first, chosen), max(last, chosen)

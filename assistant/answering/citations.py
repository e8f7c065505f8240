"""Citations: the words of a passage that support each number of an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assistant.answering.answer_filter import CITATION_MARK, cited_numbers
from assistant.answering.excerpts import Citation, best_sentence, cite_range, share, terms_and_numbers
from assistant.retrieval.search import Passage
from ingest import content_terms, numbers, split_sentences

MIN_SUPPORT = 0.35  # share of a sentence's words that a passage must contain; chosen on hand-made true and false claims


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

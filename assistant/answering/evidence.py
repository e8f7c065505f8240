"""Chooses the passages that an answer may use, from the search and the previous answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from assistant.answering import followup
from assistant.answering.answer import Answer
from assistant.retrieval.features import coverage, question_terms
from assistant.retrieval.search import Passage
from ingest import terms

LookUp = Callable[[str], list[Passage]]

# Share of the threshold that the other passages must reach once one has passed it. A model can tell which of them
# answer; a person reads three quotes. What each costs: docs/evaluation.md.
_SECONDARY_RATIO = 0.2
_SECONDARY_RATIO_OF_QUOTES = 1 / 3
# Share of a follow-up's own words that a passage must contain; otherwise the follow-up is looked up alone. Of 22
# follow-ups to a 10-K, all 7 about something else are refused, and 2 of the others, which are refused without a
# history too.
_NEW_TERM_SHARE = 0.5


def find_evidence(
    question: str,
    asked: str,
    look_up: LookUp,
    *,
    threshold: float,
    history: Sequence[Answer] = (),
    documents: Sequence[str] | None = None,
    quotes: bool = False,
) -> list[Passage]:
    """Return the passages that the answer may use, best first; none means that the documents do not answer.

    `asked` is the question rewritten to stand alone. `quotes` means that no model reads the passages: fewer are
    kept, and a follow-up about something new must be found by itself.
    """
    found = look_up(asked)
    ratio = _SECONDARY_RATIO_OF_QUOTES if quotes else _SECONDARY_RATIO
    evidence = _above_threshold(found, threshold, others=threshold * ratio)
    if quotes and asked != question and not _contains_new_terms(question, found, look_up, threshold):
        return []
    if history and (evidence or followup.is_elliptical(question)):
        evidence += _earlier_evidence(history[-1], evidence, documents)
    return evidence


def _above_threshold(found: Sequence[Passage], threshold: float, *, others: float) -> list[Passage]:
    if not any(passage.score >= threshold for passage in found):
        return []
    return [passage for passage in found if passage.score >= others]


def _contains_new_terms(question: str, found: Sequence[Passage], look_up: LookUp, threshold: float) -> bool:
    """Return whether the documents contain what a follow-up adds to the question before.

    The words of the question before, which the follow-up is joined with, always find something. A model reads the
    passages and can refuse; without one, the answer would quote passages for the question before.
    """
    wanted = question_terms(followup.without_references(question))
    if not wanted or any(coverage(wanted, set(terms(passage.text))) >= _NEW_TERM_SHARE for passage in found):
        return True
    return any(passage.score >= threshold for passage in look_up(question))


def _earlier_evidence(answer: Answer, evidence: Sequence[Passage], documents: Sequence[str] | None) -> list[Passage]:
    """Return the passages that the last answer cited, without those found again and those of other documents."""
    pages = {(passage.document_id, passage.page) for passage in evidence}
    return [
        passage
        for passage in followup.passages_to_keep(answer.passages, [citation.number for citation in answer.citations])
        if (passage.document_id, passage.page) not in pages and (documents is None or passage.document_id in documents)
    ]

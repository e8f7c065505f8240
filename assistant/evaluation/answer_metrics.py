"""Metrics of one answer, and what each measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assistant.answering.answer import Answer
from assistant.answering.citations import Citation
from assistant.evaluation.amounts import numeric_match
from assistant.evaluation.questions import Question
from assistant.evaluation.token_overlap import token_f1
from assistant.retrieval.search import whole_page
from ingest import Store

METRICS = {
    "numeric_match": "answers that state the expected number, of answerable questions with a number",
    "token_f1": "F1 of the words of the answer and of the expected one, of answerable questions; a refusal is 0",
    "judged_correct": "answers that the judge finds correct, of answerable questions",
    "judged_faithful": "answers that the judge finds supported by their passages, of answers given",
    "cited_page": "answers that cite an evidence page, of answerable questions that were answered",
    "evidence_prompted": "answerable questions with an evidence page among the passages of the prompt",
    "citations_prompted": "shown citations that point at a passage of the prompt",
    "citations_true": "cited numbers that exist in the prompt, shown or not",
    "quotes_verbatim": "quotes that are in the page's text word for word",
    "false_refusal": "refusals, of answerable questions",
    "right_refusal": "refusals, of unanswerable questions",
    "unsupported": "answers with a sentence that no passage supports, of answers given",
    "prompt_tokens": "tokens of the prompt",
    "answer_tokens": "tokens of the answer",
    "first_token_seconds": "seconds from the question to the first word shown",
    "seconds": "seconds from the question to the end of the answer",
    "own_seconds": "seconds before the model was called (search and prompt)",
}


def answer_metrics(
    store: Store, question: Question, answer: Answer, *, answerable: bool, document_id: str | None
) -> dict[str, Any]:
    """Return the metrics of one answer that need no judge; None for a metric that does not apply.

    `document_id` is the id of the question's document, None if it names none.
    """
    answered = not answer.refused
    evidence = {(document_id, page) for page in question.pages}
    cited = {(citation.document_id, citation.page) for citation in answer.citations}
    prompted = {(passage.document_id, passage.page) for passage in answer.passages}
    return {
        "numeric_match": numeric_match(question.answer, answer.text, question.question) if answerable else None,
        "token_f1": _token_f1(question, answer) if answerable else None,
        "cited_page": bool(evidence & cited) if answerable and answered and evidence else None,
        "evidence_prompted": bool(evidence & prompted) if answerable and evidence else None,
        "citations_prompted": _share([_is_prompted(citation, answer) for citation in answer.citations]),
        "citations_true": _share([True] * len(answer.citations) + [False] * len(answer.invented)),
        "quotes_verbatim": _share([_is_verbatim(citation, store) for citation in answer.citations]),
        "false_refusal": answer.refused if answerable else None,
        "right_refusal": answer.refused if not answerable else None,
        "unsupported": bool(answer.unsupported) if answered else None,
        "prompt_tokens": answer.usage.prompt_tokens if answered else None,
        "answer_tokens": answer.usage.answer_tokens if answered else None,
        "first_token_seconds": answer.usage.first_token_seconds,
        "seconds": answer.usage.seconds,
        "own_seconds": answer.usage.own_seconds,
    }


def _token_f1(question: Question, answer: Answer) -> float | None:
    return 0.0 if answer.refused and question.answer else token_f1(question.answer, answer.text)


def _share(checks: Sequence[bool]) -> float | None:
    return sum(checks) / len(checks) if checks else None


def _is_prompted(citation: Citation, answer: Answer) -> bool:
    """Return whether the cited number is that of a passage of the same page."""
    if not 1 <= citation.number <= len(answer.passages):
        return False
    passage = answer.passages[citation.number - 1]
    return (citation.document_id, citation.page) == (passage.document_id, passage.page)


def _is_verbatim(citation: Citation, store: Store) -> bool:
    """Return whether the quote is the page's text at its place; white space between chunks is not stored."""
    key = (citation.document_id, citation.page)
    chunks = store.page_chunks([key]).get(key)
    if not chunks:
        return False
    page = whole_page(chunks)
    return page.text[citation.start - page.start : citation.end - page.start].split() == citation.quote.split() != []

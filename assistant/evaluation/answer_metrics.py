"""Metrics of one answer, and what each measures."""

from __future__ import annotations

from typing import Any

from assistant.answering.answer import Answer
from assistant.answering.answer_filter import cited_numbers
from assistant.evaluation.amounts import numeric_match
from assistant.evaluation.citation_support import citation_scores
from assistant.evaluation.questions import Question
from assistant.evaluation.token_overlap import token_f1

METRICS = {
    "numeric_match": "answers that claim the expected number, of answerable questions with a number",
    "token_f1": "F1 of the words of the answer and of the expected one, of answerable questions; a refusal is 0",
    "judged_correct": "answers that the judge finds correct, of answerable questions",
    "judged_faithful": "answers that the judge finds supported by their passages, of answers given",
    "cited_page": "answers that cite an evidence page, of answerable questions that were answered",
    "evidence_prompted": "answerable questions with an evidence page among the passages of the prompt",
    "citation_recall": "sentences that the passages they cite support, of a model's answers",
    "citation_precision": "citations that support their sentence and are needed, of a model's answers",
    "judged_citation_recall": "citation_recall with the judge in place of the rule",
    "judged_citation_precision": "citation_precision with the judge in place of the rule",
    "citations_true": "cited numbers that exist in the prompt, shown or not, of a model's answers",
    "false_refusal": "refusals, of answerable questions",
    "right_refusal": "refusals, of unanswerable questions and of questions asked without their document",
    "unanswerable_refused": "refusals, of unanswerable questions only",
    "without_document_refused": "refusals, of questions asked without their document only",
    "unsupported": "answers with a sentence that the product marks as unsupported, of a model's answers",
    "prompt_tokens": "tokens of the prompt, of a model's answers",
    "answer_tokens": "tokens of the answer, of a model's answers",
    "first_token_seconds": "seconds from the question to the first word shown",
    "seconds": "seconds from the question to the end of the answer",
    "own_seconds": "seconds before the model was called (search and prompt)",
}

COUNTS = frozenset(name for name in METRICS if name.endswith(("_tokens", "seconds")))  # the others are shares
_OF_MODELS = (
    "citation_recall",
    "citation_precision",
    "citations_true",
    "unsupported",
    "prompt_tokens",
    "answer_tokens",
)


def answer_metrics(question: Question, answer: Answer, *, answerable: bool, document_id: str | None) -> dict[str, Any]:
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
        **_model_metrics(answer),
        "false_refusal": answer.refused if answerable else None,
        "right_refusal": answer.refused if not answerable else None,
        "unanswerable_refused": answer.refused if question.unanswerable else None,
        "without_document_refused": answer.refused if not answerable and not question.unanswerable else None,
        "first_token_seconds": answer.usage.first_token_seconds,
        "seconds": answer.usage.seconds,
        "own_seconds": answer.usage.own_seconds,
    }


def _token_f1(question: Question, answer: Answer) -> float | None:
    return 0.0 if answer.refused and question.answer else token_f1(question.answer, answer.text)


def _model_metrics(answer: Answer) -> dict[str, float | None]:
    """Return what applies to a model's answer: quotes are copied from what they cite and take no tokens, so None."""
    if answer.refused or answer.mode != "model":
        return dict.fromkeys(_OF_MODELS)
    recall, precision = citation_scores(answer.text, answer.passages)
    # as the model wrote them: the product moves or takes off those that are wrong
    true, invented = sum(n <= len(answer.passages) for n in set(cited_numbers(answer.raw)) - {0}), len(answer.invented)
    return {
        "citation_recall": recall,
        "citation_precision": precision,
        "citations_true": true / (true + invented) if true + invented else None,
        "unsupported": bool(answer.unsupported),
        "prompt_tokens": answer.usage.prompt_tokens,
        "answer_tokens": answer.usage.answer_tokens,
    }

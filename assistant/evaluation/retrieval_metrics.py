"""Retrieval metrics: hit@k, mean reciprocal rank and search times over a question file."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from assistant.errors import QuestionsError
from assistant.evaluation.corpus import ReportProgress, document_ids
from assistant.evaluation.questions import Question
from assistant.retrieval.search import search
from ingest import Library

DEPTHS = (1, 3, 5, 10)  # k of hit@k
_MAX_RANK = 50  # pages searched for each question; an evidence page beyond them counts as not found


def evaluate_retrieval(
    library: Library, questions: Sequence[Question], *, scope: str, store: str, progress: ReportProgress | None = None
) -> dict[str, Any]:
    """Return hit@k and the mean reciprocal rank of the first evidence page, and how long searches took.

    `scope` is "single" (search only the question's document) or "shared" (search all). Questions without evidence
    pages are skipped; raises QuestionsError if none has any.
    """
    started = time.monotonic()
    questions = [question for question in questions if question.pages]
    if not questions:
        raise QuestionsError("no question names an evidence page", 'add "evidence": [{"page": 12}]')
    ids = document_ids(library, questions)
    ranks: list[int | None] = []
    seconds: list[float] = []
    for done, question in enumerate(questions, 1):
        search_started = time.monotonic()
        documents = [ids[question.document]] if scope == "single" else None
        passages = search(library.store, library.embedder, question.question, k=_MAX_RANK, documents=documents)
        seconds.append(time.monotonic() - search_started)
        evidence = {(ids[question.document], page) for page in question.pages}
        ranks.append(next((p.rank for p in passages if (p.document_id, p.page) in evidence), None))
        if progress:
            progress(done, len(questions), question.id)
    identity = library.store.identity()
    found = [rank for rank in ranks if rank is not None]
    return {
        "questions": len(questions),
        "scope": scope,
        "store": store,
        "embedder": identity.embedder if identity else "",
        "hit": {str(k): round(sum(rank <= k for rank in found) / len(ranks), 4) for k in DEPTHS},
        "mrr": round(sum(1 / rank for rank in found) / len(ranks), 4),
        "seconds": round(time.monotonic() - started, 3),
        "milliseconds_p50": round(1000 * _percentile(seconds, 0.5), 2),
        "milliseconds_p95": round(1000 * _percentile(seconds, 0.95), 2),
        "ranks": {question.id: rank for question, rank in zip(questions, ranks, strict=True)},
    }


def _percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all values does not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]

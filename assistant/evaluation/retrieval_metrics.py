"""Retrieval metrics: hit@k, reciprocal rank and recall@k, over a whole set, by kind and by document."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from assistant.evaluation.rankings import Ranking
from assistant.evaluation.statistics import mean

DEPTHS = (1, 3, 4, 5, 10)  # k of hit@k and recall@k
METRICS = {
    **{f"hit@{k}": f"questions with an evidence page among the first {k} pages" for k in DEPTHS},
    "mrr": "reciprocal rank of the first evidence page, 0 for none",
    **{f"recall@{k}": f"evidence pages that are among the first {k} pages" for k in DEPTHS},
}
FOLDS = 5  # groups of documents for anyone who fits a constant to the questions

Row = dict[str, Any]  # one question: id, question, document, question_type, fold, ranks and every score of METRICS


def question_scores(ranks: Sequence[int | None]) -> dict[str, float]:
    """Return the scores of one question from the rank of each of its evidence pages, None for one not found."""
    found = [rank for rank in ranks if rank is not None]
    return {
        **{f"hit@{k}": float(any(rank <= k for rank in found)) for k in DEPTHS},
        "mrr": 1 / min(found) if found else 0.0,
        **{f"recall@{k}": sum(rank <= k for rank in found) / len(ranks) for k in DEPTHS},
    }


def retrieval_rows(rankings: Sequence[Ranking]) -> list[Row]:
    """Return one row a question with its scores."""
    folds = document_folds([ranking.question.document for ranking in rankings])
    return [
        {
            "id": ranking.question.id,
            "question": ranking.question.question,
            "document": ranking.question.document,
            "question_type": ranking.question.question_type,
            "fold": folds[ranking.question.document],
            "ranks": ranking.ranks,
            **question_scores(ranking.ranks),
        }
        for ranking in rankings
    ]


def document_folds(documents: Sequence[str], count: int = FOLDS) -> dict[str, int]:
    """Return the fold of each document, 0 to count - 1; all questions of a document are in one fold.

    `documents` has the document of each question. The largest ones are placed first, each into the fold with the
    fewest questions so far: fit on all folds but one, measure on that one.
    """
    sizes = {name: documents.count(name) for name in set(documents)}
    filled = [0] * count
    folds = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        folds[name] = filled.index(min(filled))
        filled[folds[name]] += sizes[name]
    return folds


def summarize_rows(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the scores of all rows, of each question_type and of each document."""
    return {
        **_summary(rows),
        "by_type": {kind: _summary(group) for kind, group in _groups(rows, "question_type")},
        "by_document": {name: _summary(group) for name, group in _groups(rows, "document")},
    }


def summarize_retrieval(rankings: Sequence[Ranking], *, scope: str, store: str, embedder: str) -> dict[str, Any]:
    """Return what `quire eval retrieval --json` prints: every score, the times of searches, and one row a question."""
    rows = retrieval_rows(rankings)
    summary = summarize_rows(rows)
    seconds = [ranking.seconds for ranking in rankings]
    return {
        **summary,
        "scope": scope,
        "store": store,
        "embedder": embedder,
        "hit": {str(k): summary["scores"][f"hit@{k}"]["mean"] for k in DEPTHS},
        "mrr": summary["scores"]["mrr"]["mean"],
        "seconds": round(sum(seconds), 3),
        "milliseconds_p50": round(1000 * _percentile(seconds, 0.5), 2),
        "milliseconds_p95": round(1000 * _percentile(seconds, 0.95), 2),
        "ranks": {row["id"]: row["ranks"][0] for row in rows},
        "rows": rows,
    }


def _summary(rows: Sequence[Row]) -> dict[str, Any]:
    documents = [row["document"] for row in rows]
    scores = {}
    for name in METRICS:
        values = [row[name] for row in rows]
        score = mean(values, documents)
        if score is not None:
            scores[name] = {**score.as_dict(), "document_mean": round(document_mean(values, documents), 4)}
    return {"questions": len(rows), "documents": len(set(documents)), "scores": scores}


def document_mean(values: Sequence[float], documents: Sequence[str]) -> float:
    """Return the mean over documents of the mean over the questions of each, so that none counts for more."""
    by_document: dict[str, list[float]] = {}
    for value, document in zip(values, documents, strict=True):
        by_document.setdefault(document, []).append(value)
    means = [sum(group) / len(group) for group in by_document.values()]
    return sum(means) / len(means)


def _groups(rows: Sequence[Row], key: str) -> Iterable[tuple[str, list[Row]]]:
    groups: Mapping[str, list[Row]] = {name: [] for name in sorted({row[key] for row in rows})}
    for row in rows:
        groups[row[key]].append(row)
    return groups.items()


def _percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all values does not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]

"""Two runs compared question by question: difference, exact McNemar, smallest visible difference."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

from assistant.errors import QuestionsError
from assistant.evaluation import answer_metrics, retrieval_metrics
from assistant.evaluation.runs import Row, read_run, run_file
from assistant.evaluation.statistics import paired_difference

_ALPHA, _POWER = 0.05, 0.8  # two-sided; the share of true differences that a set of this size shows


def compare_runs(first: Path, second: Path) -> dict[str, Any]:
    """Return the paired difference (second minus first) of every score, over the questions in both runs.

    A run is the answers.jsonl of `quire eval answers`, its folder, or the saved JSON of `quire eval retrieval`. Raises
    QuestionsError if the runs are of two kinds or have no question in common.
    """
    metrics, a, a_label = _read(first)
    other_metrics, b, b_label = _read(second)
    if metrics != other_metrics:
        raise QuestionsError(f"{first} and {second} are runs of two kinds", "compare two runs of one command")
    shared = [key for key in a if key in b]
    same = [key for key in shared if a[key].get("question") == b[key].get("question")]
    if not same:
        raise QuestionsError(
            f"{first} and {second} have no question in common", "compare two runs with the same question file"
        )
    differences = {}
    for name in metrics:
        pairs = [(a[key], b[key]) for key in same if a[key].get(name) is not None and b[key].get(name) is not None]
        if pairs:
            differences[name] = _difference(name, pairs)
    return {
        "first": a_label,
        "second": b_label,
        "questions": len(same),
        "changed_questions": len(shared) - len(same),
        "only_in_first": len(a) - len(shared),
        "only_in_second": len(b) - len(shared),
        "differences": differences,
    }


def mcnemar(won: int, lost: int) -> tuple[float, float]:
    """Return the exact two-sided p-value of McNemar's test and its mid-p, from the pairs that changed each way."""
    changed, fewer = won + lost, min(won, lost)
    if won == lost:
        return 1.0, 1.0
    chance = [math.comb(changed, k) / 2**changed for k in range(fewer + 1)]
    return min(1.0, 2 * sum(chance)), min(1.0, 2 * sum(chance) - chance[fewer])


def smallest_difference(differences: Sequence[float], documents: Sequence[str]) -> float | None:
    """Return the difference that questions as these show with 80 % power at 5 %, None if no pair differs.

    It is (1.96 + 0.84) standard errors without a true difference: sqrt(d / n) for a share d of changed pairs, and
    more if the questions of one document change together.
    """
    by_document: dict[str, float] = {}
    for difference, document in zip(differences, documents, strict=True):
        by_document[document] = by_document.get(document, 0.0) + difference
    independent = sum(difference**2 for difference in differences)
    clustered = sum(total**2 for total in by_document.values())
    if not independent:
        return None
    factor = NormalDist().inv_cdf(1 - _ALPHA / 2) + NormalDist().inv_cdf(_POWER)
    return factor * math.sqrt(max(independent, clustered)) / len(differences)


def _difference(name: str, pairs: Sequence[tuple[Row, Row]]) -> dict[str, Any]:
    first, second = ([float(pair[side][name]) for pair in pairs] for side in (0, 1))
    documents = [_document(pair[0]) for pair in pairs]
    score = paired_difference(first, second, documents)
    assert score is not None  # noqa: S101 - there are pairs
    changes = [b - a for a, b in zip(first, second, strict=True)]
    smallest = smallest_difference(changes, documents)
    result: dict[str, Any] = score.as_dict()
    result["smallest_difference"] = None if smallest is None else round(smallest, 4)
    if {*first, *second} <= {0.0, 1.0}:
        won, lost = changes.count(1.0), changes.count(-1.0)
        exact, mid = mcnemar(won, lost)
        result |= {"won": won, "lost": lost, "mcnemar_p": round(exact, 4), "mcnemar_mid_p": round(mid, 4)}
    return result


def _document(row: Row) -> str:
    """Return the document of a row; a question without one is a group of its own."""
    return str(row.get("document") or f"question {row['id']}")


def _read(path: Path) -> tuple[tuple[str, ...], dict[tuple[str, bool], Row], str]:
    """Return the names of a run's scores, its rows by (id, answerable), and a label."""
    path = run_file(path)
    retrieval = _retrieval_run(path)
    if retrieval is not None:
        rows = {(row["id"], True): row for row in retrieval["rows"]}
        return tuple(retrieval_metrics.METRICS), rows, _label(retrieval, "embedder", retrieval.get("library", ""))
    rows = {(row["id"], row["answerable"]): row for row in read_run(path)}
    if not rows:
        raise QuestionsError(f"{path} has no rows", "give a run that has asked a question")
    row = next(iter(rows.values()))
    return (
        tuple(answer_metrics.METRICS),
        rows,
        _label(row, "model", f"library {row['library_hash']}" if row.get("library_hash") else ""),
    )


def _label(run: Mapping[str, Any], what: str, library: str) -> str:
    """Return what distinguishes a run: its model or embedder, its scope, and its library if the run says which."""
    return ", ".join(filter(None, (run[what], run["scope"], library)))


def _retrieval_run(path: Path) -> dict[str, Any] | None:
    """Return the saved JSON of `quire eval retrieval`, None for a file that is something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    keys = {"rows", "embedder", "scope"}
    return content if isinstance(content, dict) and keys <= content.keys() else None

"""Runs of `quire eval answers`: their files and the summary of one."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assistant.errors import AssistantError, QuestionsError
from assistant.evaluation.answer_metrics import COUNTS, METRICS
from assistant.evaluation.statistics import Score, mean
from quire import write_atomically

Row = dict[str, Any]  # one line of answers.jsonl


def read_run(path: Path) -> list[Row]:
    """Return the rows of a run; an incomplete last line, as a killed run leaves it, is skipped.

    Raises QuestionsError for a file that cannot be read and for any other line that is not JSON.
    """
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except OSError as exc:
        raise QuestionsError(f"cannot read {path}: {exc.strerror}", "give the answers.jsonl of a run") from exc
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError as exc:
            if number == len(lines):
                break
            raise QuestionsError(f"{path}, line {number} is not JSON", "remove the line, then run again") from exc
    return rows


def resume_run(path: Path, settings: Mapping[str, Any], question_hashes: Mapping[tuple[str, bool], str]) -> list[Row]:
    """Return the rows of the run that a file holds, [] for no file.

    An incomplete last line is removed from the file, and so are rows of questions that failed or were asked differently:
    `question_hashes` has the hash of each (id, answerable) now. Raises AssistantError if the run has other settings.
    """
    if not path.exists():
        return []
    rows = read_run(path)
    other = next((row for row in rows if any(row.get(name) != value for name, value in settings.items())), None)
    if other is not None:
        changed = [
            f"{name} {other.get(name)!r}, now {value!r}" for name, value in settings.items() if other.get(name) != value
        ]
        raise AssistantError(
            f"{path} contains a run of another configuration: {'; '.join(changed)}",
            "choose another folder with --out, or remove this file",
        )
    same = [
        row
        for row in rows
        if not row["error"] and row["question_hash"] == question_hashes.get(_key(row), row["question_hash"])
    ]
    write_atomically(path, "".join(map(row_line, same)))
    return same


def _key(row: Row) -> tuple[str, bool]:
    return (row["id"], row["answerable"])


def row_line(row: Row) -> str:
    """Return a row as a line of answers.jsonl."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def summarize_run(rows: Sequence[Row]) -> dict[str, Any]:
    """Return every score of a run with its interval; a score that applies to no row is left out."""
    scores = {name: _score(name, rows) for name in METRICS}
    answerable = [row for row in rows if row["answerable"]]
    failed = [row for row in rows if row["error"]]
    judged = [row for row in rows if row["judged"]]
    return {
        "questions": len(answerable),
        "unanswerable": len(rows) - len(answerable),
        "failed": len(failed),
        "first_error": failed[0]["error"] if failed else "",
        "model": rows[0]["model"],
        "scope": rows[0]["scope"],
        "judge": rows[0]["judge"],
        "threshold": _threshold_summary(rows),
        "scores": {name: score.as_dict() for name, score in scores.items() if score is not None},
        "judge_failures": sum(row["judge_failed"] for row in judged) / len(judged) if judged else None,
        "judge_malformed": sum(row["judge_malformed"] for row in judged),
        "judge_errors": sum(len(row["judge_errors"]) for row in judged),
    }


def _score(name: str, rows: Sequence[Row]) -> Score | None:
    scored = [row for row in rows if row.get(name) is not None]
    documents = [row.get("document", "") for row in scored]
    return mean([row[name] for row in scored], documents, share=name not in COUNTS)


def threshold_sentence(threshold: Mapping[str, Any]) -> str:
    """Return the `threshold` of a summary as a sentence."""
    answerable, unanswerable = (
        "none" if share is None else f"{share:.1%}"
        for share in (threshold["false_refusals"], threshold["right_refusals"])
    )
    return (
        f"Threshold {threshold['value']}: {answerable} of the answerable questions score below it, "
        f"and {unanswerable} of the unanswerable ones."
        + ("" if threshold["auroc"] is None else f" AUROC of the score: {threshold['auroc']:.3f}.")
    )


def _auroc(answerable: Sequence[float], unanswerable: Sequence[float]) -> float | None:
    """Return the share of pairs in which the answerable question scores higher, ties as half; None for no pair."""
    pairs = len(answerable) * len(unanswerable)
    below = sum(bisect_left(unanswerable, score) + bisect_right(unanswerable, score) for score in answerable)
    return round(below / 2 / pairs, 4) if pairs else None


def _threshold_summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the threshold with the share of questions whose best passage scores below it."""
    value = rows[0]["threshold"]
    answerable, unanswerable = (
        sorted(row["best_score"] for row in rows if row["answerable"] is kind and row["best_score"] is not None)
        for kind in (True, False)
    )

    def refused(scores: Sequence[float]) -> float | None:
        return round(sum(score < value for score in scores) / len(scores), 4) if scores else None

    return {
        "value": value,
        "false_refusals": refused(answerable),
        "right_refusals": refused(unanswerable),
        "auroc": _auroc(answerable, unanswerable),
        "best_scores_answerable": answerable,
        "best_scores_unanswerable": unanswerable,
    }

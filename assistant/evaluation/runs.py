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

_KEYS = {"id", "answerable", "error", "model", "scope"}  # what every row has
_GIVE_A_RUN = (
    "give the answers.jsonl of `quire eval answers`, or what `quire eval retrieval --json` printed, nothing else"
)


def run_file(path: Path) -> Path:
    """Return the answers.jsonl of a run that is given as a file or as a folder."""
    return path / "answers.jsonl" if path.is_dir() else path


def read_run(path: Path) -> list[Row]:
    """Return the rows of a run; an incomplete last line, as a killed run leaves it, is skipped.

    Raises QuestionsError for a file that cannot be read and for any other line that is not a row.
    """
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except OSError as exc:
        raise QuestionsError(f"cannot read {path}: {exc.strerror}", _GIVE_A_RUN) from exc
    except UnicodeDecodeError as exc:
        raise QuestionsError(f"{path} is not a run: it is not text", _GIVE_A_RUN) from exc
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            if number == len(lines):
                break
            row = None
        if not isinstance(row, dict) or _KEYS - row.keys():
            raise QuestionsError(
                f"{path}, line {number} is not a row of a run", f"{_GIVE_A_RUN}; in an answers.jsonl, remove the line"
            )
        rows.append(row)
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
        "without_document": sum(not row["answerable"] and _has_an_answer(row) for row in rows),
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


def _has_an_answer(row: Row) -> bool:
    """Return whether the question of a row has an answer or evidence: it was asked without its document if not answerable."""
    return bool(row.get("expected") or row.get("evidence"))


def _score(name: str, rows: Sequence[Row]) -> Score | None:
    scored = [row for row in rows if row.get(name) is not None]
    documents = [row.get("document", "") for row in scored]
    return mean([row[name] for row in scored], documents, share=name not in COUNTS)


def threshold_sentence(threshold: Mapping[str, Any]) -> str:
    """Return the `threshold` of a summary as a sentence."""
    kinds = (("answerable", threshold["false_refusals"]), ("unanswerable", threshold["right_refusals"]))
    below = " and ".join(f"{share:.1%} of the {kind} questions" for kind, share in kinds if share is not None)
    return f"Threshold {threshold['value']}: {below or 'no questions'} score below it." + (
        "" if threshold["auroc"] is None else f" AUROC of the score: {threshold['auroc']:.3f}."
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

"""Question files: one JSON object a line, with the expected answer and the pages that hold it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from assistant.errors import QuestionsError


@dataclass(frozen=True)
class Question:
    """One line of a question file; `pages` are the evidence pages of `document` (1-based)."""

    id: str
    document: str
    question: str
    answer: str
    pages: tuple[int, ...]


def read_questions(path: Path) -> list[Question]:
    """Return the questions of a JSONL file; raises QuestionsError that names the invalid line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines also splits at U+2028
    except (OSError, UnicodeDecodeError) as exc:
        raise QuestionsError(f"cannot read {path}: {exc}", "give a JSONL file of questions") from exc
    questions = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            questions.append(_question(line, number))
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise QuestionsError(
                f"{path}, line {number}: {type(exc).__name__}: {exc}",
                'each line is {"id", "document", "question", "answer", "evidence": [{"page"}]}',
            ) from exc
    if not questions:
        raise QuestionsError(f"{path} has no questions", "give a JSONL file with one question per line")
    return questions


def _question(line: str, number: int) -> Question:
    row = json.loads(line)
    return Question(
        id=str(row.get("id") or number),
        document=str(row.get("document") or ""),
        question=str(row["question"]),
        answer=str(row.get("answer") or ""),
        pages=tuple(int(evidence["page"]) for evidence in row.get("evidence") or []),
    )

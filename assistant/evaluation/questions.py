"""Question files: one JSON object a line, with the expected answer and the pages that hold it."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
    question_type: str = ""

    @property
    def unanswerable(self) -> bool:
        """Whether it has neither evidence nor an answer: a refusal is right."""
        return not self.pages and not self.answer


def read_question_files(paths: Sequence[Path]) -> list[Question]:
    """Return the questions of several files as one set; raises QuestionsError as `read_questions` does."""
    questions = [question for path in paths for question in read_questions(path)]
    _check_ids(questions, ", ".join(map(str, paths)))
    return questions


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
            questions.append(_question(line, f"{path.stem}:{number}"))
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise QuestionsError(
                f"{path}, line {number}: {type(exc).__name__}: {exc}",
                'each line is {"id", "document", "question", "answer", "evidence": [{"page"}]}',
            ) from exc
    if not questions:
        raise QuestionsError(f"{path} has no questions", "give a JSONL file with one question per line")
    _check_ids(questions, str(path))
    return questions


def _check_ids(questions: Sequence[Question], where: str) -> None:
    """Raise QuestionsError if two questions have one id: a row of one would be taken for the other's."""
    seen = set()
    for question in questions:
        if question.id in seen:
            raise QuestionsError(f"{where}: two questions have the id {question.id!r}", "give each question its own id")
        seen.add(question.id)


def _question(line: str, default_id: str) -> Question:
    row = json.loads(line)
    return Question(
        id=str(row.get("id") or default_id),
        document=str(row.get("document") or ""),
        question=str(row["question"]),
        answer=str(row.get("answer") or ""),
        pages=tuple(int(evidence["page"]) for evidence in row.get("evidence") or []),
        question_type=str(row.get("question_type") or ""),
    )

"""Question files: one JSON object a line, with the expected answer and the pages that hold it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.errors import QuestionsError
from quire import encodable, one_line, pluralize

Notify = Callable[[str], None]  # receives one sentence for the user

_FIELDS = ("id", "document", "question", "answer", "question_type", "evidence")
_HINT = (
    'write one JSON object a line: {"id": "q1", "document": "report.pdf", "question": "Who signed it?", '
    '"answer": "Ann Lee", "evidence": [{"page": 12}]}'
)


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


def read_question_files(paths: Sequence[Path], notify: Notify | None = None) -> list[Question]:
    """Return the questions of several files as one set; raises QuestionsError as `read_questions` does."""
    questions = [question for path in paths for question in read_questions(path, notify)]
    _check_ids(questions, ", ".join(map(str, paths)))
    return questions


def read_questions(path: Path, notify: Notify | None = None) -> list[Question]:
    """Return the questions of a JSONL file; raises QuestionsError that names the invalid line.

    Blank lines are skipped. `notify` is told which other fields the lines have: a misspelled one would be lost silently.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # splitlines also splits at U+2028
    except OSError as exc:
        raise QuestionsError(f"cannot read {path}: {exc.strerror}", "give a JSONL file of questions") from exc
    except UnicodeDecodeError as exc:
        raise QuestionsError(f"{path} is not UTF-8 text", "save it as UTF-8") from exc
    questions = []
    unknown: Counter[str] = Counter()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            questions.append(_question(row, f"{path.stem}:{number}"))
        except json.JSONDecodeError as exc:
            raise QuestionsError(f"{path}, line {number} is not JSON: {exc.msg} at column {exc.colno}", _HINT) from exc
        except ValueError as exc:
            raise QuestionsError(f"{path}, line {number}: {exc}", _HINT) from exc
        unknown.update(row.keys() - set(_FIELDS))
    if not questions:
        raise QuestionsError(f"{path} has no questions", "give a JSONL file with one question per line")
    _check_ids(questions, str(path))
    if unknown and notify:
        names = ", ".join(f"{name} ({pluralize(count, 'line')})" for name, count in sorted(unknown.items()))
        notify(f"{path} has fields that are not used: {names}")
    return questions


def _check_ids(questions: Sequence[Question], where: str) -> None:
    """Raise QuestionsError if two questions have one id: a row of one would be taken for the other's."""
    seen = set()
    for question in questions:
        if question.id in seen:
            raise QuestionsError(f"{where}: two questions have the id {question.id!r}", "give each question its own id")
        seen.add(question.id)


def _question(row: Any, default_id: str) -> Question:
    """Return the question of a row; raises ValueError that says what is wrong with it."""
    if not isinstance(row, dict):
        raise ValueError("it is no JSON object")
    document = _text(row, "document")
    question = _text(row, "question")
    if not question.strip():
        raise ValueError('"question" is missing or empty')
    return Question(
        id=_text(row, "id") or default_id,
        document=document,
        question=question,
        answer=_text(row, "answer"),
        pages=_pages(row.get("evidence"), document),
        question_type=_text(row, "question_type"),
    )


def _text(row: dict[str, Any], name: str) -> str:
    """Return a field as text, "" if the row does not have it; a number is written as in the file."""
    value = row.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f'"{name}" is {_shown(value)}, not text')
    text = str(value)
    if text != encodable(text):
        raise ValueError(f'"{name}" has half of a surrogate pair, which is no character')
    return text


def _pages(evidence: Any, document: str) -> tuple[int, ...]:
    if evidence is None:
        return ()
    if not isinstance(evidence, list):
        raise ValueError(f'"evidence" is {_shown(evidence)}, not a list')
    pages = []
    for item in evidence:
        page = item.get("page") if isinstance(item, dict) else None
        if isinstance(page, bool) or not isinstance(page, int) or page < 1:
            raise ValueError(f'"evidence" has {_shown(item)}: a page is a whole number, the first page is 1')
        if item.get("document", document) != document:
            raise ValueError(
                f"evidence in {_shown(item['document'])}: all evidence of a question is in its own document"
            )
        pages.append(page)
    return tuple(dict.fromkeys(pages))


def _shown(value: Any) -> str:
    return one_line(json.dumps(value), limit=60)

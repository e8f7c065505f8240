"""Turns thumbs and edits into training rows: preference pairs and KTO rows, in the shape that `finetune` reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from assistant.conversations.history import Feedback


def preference_rows(feedback: Sequence[Feedback]) -> Iterator[dict[str, Any]]:
    """Yield a pair for each edited answer: the edit is chosen, what the model wrote is rejected.

    Where nothing was edited there is no second completion and so no pair; such thumbs are KTO rows.
    """
    for row in feedback:
        if row.edit and row.edit != row.answer.text and _has_prompt(row):
            yield {"prompt": _prompt(row), "chosen": _completion(row.edit), "rejected": _completion(row.answer.text)}


def kto_rows(feedback: Sequence[Feedback]) -> Iterator[dict[str, Any]]:
    """Yield a row for each thumb, label true for up; an edited answer is a second, good completion."""
    for row in feedback:
        if not _has_prompt(row):
            continue
        if row.answer.text:
            yield {"prompt": _prompt(row), "completion": _completion(row.answer.text), "label": row.thumb > 0}
        if row.edit and row.edit != row.answer.text:
            yield {"prompt": _prompt(row), "completion": _completion(row.edit), "label": True}


def _has_prompt(row: Feedback) -> bool:
    # a refusal before any model was asked, and quotes, have no messages that a model could learn from
    return bool(row.answer.messages) and row.answer.mode != "quotes"


def _prompt(row: Feedback) -> list[dict[str, str]]:
    return [message.as_dict() for message in row.answer.messages]


def _completion(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]

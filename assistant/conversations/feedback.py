"""Feedback as training rows: preference pairs and KTO rows, in the format that `finetune` reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from assistant.conversations.history import Feedback


def preference_rows(feedback: Sequence[Feedback]) -> Iterator[dict[str, Any]]:
    """Yield a pair for each edited answer: the edit is chosen, the model's answer is rejected.

    Thumbs without an edit give no pair; they become KTO rows.
    """
    for row in feedback:
        if row.edit and row.edit != row.answer.text and _has_prompt(row):
            yield {"prompt": _prompt(row), "chosen": _completion(row.edit), "rejected": _completion(row.answer.text)}


def kto_rows(feedback: Sequence[Feedback]) -> Iterator[dict[str, Any]]:
    """Yield a row for each thumb, with the label true for up, and a second row labeled true for an edit."""
    for row in feedback:
        if not _has_prompt(row):
            continue
        if row.answer.text:
            yield {"prompt": _prompt(row), "completion": _completion(row.answer.text), "label": row.thumb > 0}
        if row.edit and row.edit != row.answer.text:
            yield {"prompt": _prompt(row), "completion": _completion(row.edit), "label": True}


def _has_prompt(row: Feedback) -> bool:
    # quotes, and refusals given without asking the model, have no prompt to learn from
    return bool(row.answer.messages) and row.answer.mode != "quotes"


def _prompt(row: Feedback) -> list[dict[str, str]]:
    return [message.as_dict() for message in row.answer.messages]


def _completion(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]

"""Has a model judge answers: correct against the expected answer, faithful to the passages; its failures are counted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from assistant.answering.agent import Answer
from assistant.answering.prompt import Message, disarm, passage_text
from assistant.config import Sampling

if TYPE_CHECKING:
    from assistant.llm import Model

_CORRECT = """You compare an answer with the expected answer to a question.
The answer is correct if it states the same facts and numbers; other words, rounding and more detail are allowed.
Reply with one word: YES if it is correct, NO if it is not."""

_FAITHFUL = """You check whether an answer is supported by passages.
It is supported if every statement in it follows from the passages; knowledge from elsewhere does not count.
Reply with one word: YES if all of it is supported, NO if not."""

_VERDICT = re.compile(r"\b(yes|no)\b", re.I)
_SAMPLING = Sampling(temperature=0.0, top_k=1, max_tokens=256, repetition_penalty=1.0)


def correct(judge: Model, question: str, expected: str, answer: str) -> bool | None:
    """Say whether the judge finds an answer correct; None where it gave no verdict."""
    text = f"Question: {disarm(question)}\nExpected answer: {disarm(expected)}\nAnswer: {disarm(answer)}\n\nCorrect?"
    return _ask(judge, [Message("system", _CORRECT), Message("user", text)])


def faithful(judge: Model, answer: Answer) -> bool | None:
    """Say whether the judge finds an answer supported by the passages it was given; None where it gave no verdict."""
    passages = _within(judge, answer)
    text = f"<passages>\n{passages}\n</passages>\n\nAnswer: {disarm(answer.text)}\n\nSupported?"
    return _ask(judge, [Message("system", _FAITHFUL), Message("user", text)])


def verdict(text: str) -> bool | None:
    """Return the verdict in a judge's reply: its last yes or no, None where there is none."""
    found = _VERDICT.findall(re.sub(r"<think>.*?(?:</think>|\Z)", "", text, flags=re.S))
    return found[-1].lower() == "yes" if found else None


def _ask(judge: Model, messages: Sequence[Message]) -> bool | None:
    from assistant.answering.graph import complete

    try:
        return verdict(complete(judge.build(_SAMPLING), messages))
    except Exception as exc:  # a judge that fails is counted, and the run goes on
        if judge.explain(exc) is None and not isinstance(exc, ValueError | OSError):
            raise
        return None


def _within(judge: Model, answer: Answer) -> str:
    """Return the passages as far as they fit the judge's window."""
    room = judge.window - _SAMPLING.max_tokens - judge.count(answer.text) - 300
    parts: list[str] = []
    for number, passage in enumerate(answer.passages, 1):
        text = passage_text(number, passage)
        room -= judge.count(text) + 2
        if room < 0:
            break
        parts.append(text)
    return "\n\n".join(parts)

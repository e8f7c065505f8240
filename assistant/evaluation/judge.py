"""A model as judge: is an answer correct, and do its passages support it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from assistant.answering.answer import Answer
from assistant.answering.control_marks import disarm
from assistant.answering.prompt import Message, passage_text
from assistant.config import Sampling
from assistant.evaluation.questions import Question

if TYPE_CHECKING:
    from assistant.llm.model import Model

_CORRECT = """You compare an answer with the expected answer to a question.
The answer is correct if it states the same facts and numbers; other words, rounding and more detail are allowed.
Reply with one word: YES if it is correct, NO if it is not."""

_FAITHFUL = """You check whether an answer is supported by passages.
It is supported if every statement in it follows from the passages; knowledge from elsewhere does not count.
Reply with one word: YES if all of it is supported, NO if not."""

_VERDICT = re.compile(r"\b(yes|no)\b", re.I)
_SAMPLING = Sampling(temperature=0.0, top_k=1, max_tokens=256, repetition_penalty=1.0)
_INSTRUCTION_TOKENS = 300  # reserved for the instructions and the chat template


def judge_answer(
    judge: Model | None, question: Question, answer: Answer, *, answerable: bool
) -> dict[str, bool | None]:
    """Return the judge's verdicts on an answer, None for none; refusals are not judged."""
    if judge is None or answer.refused:
        return {"judged_correct": None, "judged_faithful": None, "judged": False, "judge_failed": False}
    correct = is_correct(judge, question, answer.text) if answerable else None
    faithful = is_faithful(judge, answer)
    failed = faithful is None or (answerable and correct is None)
    return {"judged_correct": correct, "judged_faithful": faithful, "judged": True, "judge_failed": failed}


def is_correct(judge: Model, question: Question, answer: str) -> bool | None:
    """Return whether the judge finds an answer correct; None if it gave no verdict."""
    text = (
        f"Question: {disarm(question.question)}\nExpected answer: {disarm(question.answer)}\n"
        f"Answer: {disarm(answer)}\n\nCorrect?"
    )
    return _ask(judge, [Message("system", _CORRECT), Message("user", text)])


def is_faithful(judge: Model, answer: Answer) -> bool | None:
    """Return whether the judge finds that the passages support an answer; None if it gave no verdict."""
    text = f"<passages>\n{_fitting_passages(judge, answer)}\n</passages>\n\nAnswer: {disarm(answer.text)}\n\nSupported?"
    return _ask(judge, [Message("system", _FAITHFUL), Message("user", text)])


def parse_verdict(reply: str) -> bool | None:
    """Return the last yes or no of a judge's reply, None if it has neither; its <think> part is ignored."""
    found = _VERDICT.findall(re.sub(r"<think>.*?(?:</think>|\Z)", "", reply, flags=re.S))
    return found[-1].lower() == "yes" if found else None


def _ask(judge: Model, messages: Sequence[Message]) -> bool | None:
    from assistant.answering.agent_graph import complete

    try:
        return parse_verdict(complete(judge.build(_SAMPLING), messages))
    except Exception as exc:  # a failing judge is counted and must not end the run
        if judge.explain(exc) is None and not isinstance(exc, ValueError | OSError):
            raise
        return None


def _fitting_passages(judge: Model, answer: Answer) -> str:
    """Return the first passages that fit the judge's context window."""
    free_tokens = judge.window - _SAMPLING.max_tokens - judge.count(answer.text) - _INSTRUCTION_TOKENS
    parts: list[str] = []
    for number, passage in enumerate(answer.passages, 1):
        text = passage_text(number, passage)
        free_tokens -= judge.count(text) + 2
        if free_tokens < 0:
            break
        parts.append(text)
    return "\n\n".join(parts)

"""A model as judge: is an answer correct, and do its passages support it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

_THOUGHTS = re.compile(r"\A.*</think>|<think>.*\Z", re.S)
_LABEL = r"[\W_]*(?:(?:final |my )?(?:verdict|answer|judge?ment)(?: is)?\s*[:=]?[\W_]*)?"
# "no" with a noun after it is not a verdict: "No difference: YES"
_LEADING = re.compile(
    rf"{_LABEL}(?P<verdict>yes\b|no\b(?=[\W_]*\Z|[^\w\s]|\s*\n|\s+(?:the|it|this|because|since)\b))", re.I
)
_VERDICT_LINE = re.compile(rf"^{_LABEL}(?P<verdict>yes|no)\b[\W_]*$", re.I | re.M)
_LAST_WORD = re.compile(r"\b(?P<verdict>yes|no)\b[\W_]*\Z", re.I)
_SAMPLING = Sampling(temperature=0.0, top_k=1, max_tokens=256, repetition_penalty=1.0)
_INSTRUCTION_TOKENS = 300  # reserved for the instructions and the chat template


# the fields of a row whose answer was not judged
NO_VERDICT: dict[str, Any] = {
    "judged_correct": None,
    "judged_faithful": None,
    "judged": False,
    "judge_failed": False,
    "judge_malformed": 0,
    "judge_errors": [],
    "judge_replies": {},
}


@dataclass(frozen=True)
class Verdict:
    """What a judge said: `value` is None if the reply has no verdict or the judge failed with `error`."""

    value: bool | None
    reply: str
    error: str = ""


def judge_answer(judge: Model | None, question: Question, answer: Answer, *, answerable: bool) -> dict[str, Any]:
    """Return the judge's verdicts on an answer with its replies, None for none; refusals are not judged.

    `judge_malformed` and `judge_errors` count the replies without a verdict and the calls that failed.
    """
    if judge is None or answer.refused:
        return dict(NO_VERDICT)
    verdicts = {"judged_correct": is_correct(judge, question, answer.text)} if answerable else {}
    verdicts["judged_faithful"] = is_faithful(judge, answer)
    return NO_VERDICT | {
        **{name: verdict.value for name, verdict in verdicts.items()},
        "judged": True,
        "judge_failed": any(verdict.value is None for verdict in verdicts.values()),
        "judge_malformed": sum(verdict.value is None and not verdict.error for verdict in verdicts.values()),
        "judge_errors": [verdict.error for verdict in verdicts.values() if verdict.error],
        "judge_replies": {name: verdict.reply for name, verdict in verdicts.items()},
    }


def is_correct(judge: Model, question: Question, answer: str) -> Verdict:
    """Return whether the judge finds an answer correct."""
    text = (
        f"Question: {disarm(question.question)}\nExpected answer: {disarm(question.answer)}\n"
        f"Answer: {disarm(answer)}\n\nCorrect?"
    )
    return ask_judge(judge, [Message("system", _CORRECT), Message("user", text)])


def is_faithful(judge: Model, answer: Answer) -> Verdict:
    """Return whether the judge finds that the passages support an answer."""
    text = f"<passages>\n{_fitting_passages(judge, answer)}\n</passages>\n\nAnswer: {disarm(answer.text)}\n\nSupported?"
    return ask_judge(judge, [Message("system", _FAITHFUL), Message("user", text)])


def parse_verdict(reply: str) -> bool | None:
    """Return the yes or no that a reply leads with, states on a line of its own, or ends with; None for none.

    A "no" inside a sentence, as in "there is no difference", is not a verdict. The <think> part is ignored.
    """
    text = _THOUGHTS.sub("", reply).strip()
    lines = list(_VERDICT_LINE.finditer(text))
    found = _LEADING.match(text) or (lines[-1] if lines else None) or _LAST_WORD.search(text)
    return found["verdict"].lower() == "yes" if found else None


def ask_judge(judge: Model, messages: Sequence[Message]) -> Verdict:
    """Return the judge's verdict; an error of the judge becomes part of it, because it must not end a run."""
    from assistant.answering.agent_graph import complete

    try:
        reply = complete(judge.build(_SAMPLING), messages)
    except Exception as exc:  # every library of models has errors of its own
        return Verdict(None, "", f"{type(exc).__name__}: {judge.explain(exc) or exc}")
    return Verdict(parse_verdict(reply), reply)


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

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
from assistant.evaluation.citation_support import citation_scores
from assistant.evaluation.questions import Question
from assistant.retrieval.search import Passage

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
    "judged_citation_recall": None,
    "judged_citation_precision": None,
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

    A model's citations are judged sentence by sentence, which takes a call for each, and more where it cites several.
    `judge_malformed` and `judge_errors` count the replies without a verdict and the calls that failed.
    """
    if judge is None or answer.refused:
        return dict(NO_VERDICT)
    verdicts = {"judged_correct": is_correct(judge, question, answer.text)} if answerable and question.answer else {}
    verdicts["judged_faithful"] = is_faithful(judge, answer.text, answer.passages)
    recall, precision, on_citations = _judge_citations(judge, answer)
    every = [*verdicts.values(), *on_citations]
    return NO_VERDICT | {
        **{name: verdict.value for name, verdict in verdicts.items()},
        "judged_citation_recall": recall,
        "judged_citation_precision": precision,
        "judged": True,
        "judge_failed": any(verdict.value is None for verdict in every),
        "judge_malformed": sum(verdict.value is None and not verdict.error for verdict in every),
        "judge_errors": [verdict.error for verdict in every if verdict.error],
        "judge_replies": {name: verdict.reply for name, verdict in verdicts.items()},
    }


def is_correct(judge: Model, question: Question, answer: str) -> Verdict:
    """Return whether the judge finds an answer correct."""
    text = (
        f"Question: {disarm(question.question)}\nExpected answer: {disarm(question.answer)}\n"
        f"Answer: {disarm(answer)}\n\nCorrect?"
    )
    return ask_judge(judge, [Message("system", _CORRECT), Message("user", text)])


def is_faithful(judge: Model, answer: str, passages: Sequence[Passage]) -> Verdict:
    """Return whether the judge finds that passages support an answer, or one sentence of it."""
    fitting = _fitting_passages(judge, answer, passages)
    text = f"<passages>\n{fitting}\n</passages>\n\nAnswer: {disarm(answer)}\n\nSupported?"
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


def _judge_citations(judge: Model, answer: Answer) -> tuple[float | None, float | None, list[Verdict]]:
    """Return citation recall and precision by the judge, and its verdicts; None for quotes, which are copied."""
    verdicts: list[Verdict] = []

    def supports(sentence: str, cited: Sequence[Passage]) -> bool | None:
        verdicts.append(is_faithful(judge, sentence, cited))
        return verdicts[-1].value

    if answer.mode != "model":
        return None, None, verdicts
    return *citation_scores(answer.text, answer.passages, supports), verdicts


def _fitting_passages(judge: Model, answer: str, passages: Sequence[Passage]) -> str:
    """Return the first passages that fit the judge's context window."""
    free_tokens = judge.window - _SAMPLING.max_tokens - judge.count(answer) - _INSTRUCTION_TOKENS
    parts: list[str] = []
    for number, passage in enumerate(passages, 1):
        text = passage_text(number, passage)
        free_tokens -= judge.count(text) + 2
        if free_tokens < 0:
            break
        parts.append(text)
    return "\n\n".join(parts)

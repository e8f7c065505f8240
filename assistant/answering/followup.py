"""Makes a follow-up question stand alone, and keeps the evidence of the answer before it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from assistant.answering.generation import Reply
from assistant.answering.prompt import condense_messages
from assistant.config import Sampling
from assistant.retrieval.search import Passage
from ingest import content_terms

if TYPE_CHECKING:
    from assistant.llm.model import Model

_REFERENCES = re.compile(
    r"^\s*(?:and|but|or|so|also|yes|no|ok|okay|sure|please|continue|go on|what about|how about|why|which one)\b"
    r"|\b(?:it|its|they|them|their|that|this|those|these|he|she|his|her|the same|former|latter|above)\b",
    re.I,
)
_MIN_WORDS = 3  # content words of a question that can stand alone
_MAX_KEPT = 2  # passages of the previous answer that stay in the prompt
_MIN_CHARACTERS, _MAX_CHARACTERS = 3, 400  # of a rewritten question
_REWRITING = Sampling(temperature=0.0, top_k=1, max_tokens=96, repetition_penalty=1.0)


def is_elliptical(question: str) -> bool:
    """Return whether a question refers to what was said before: "yes", "and in 2021?", "why did it fall?"."""
    return len(content_terms(question)) < _MIN_WORDS or bool(_REFERENCES.search(question))


def without_references(question: str) -> str:
    """Return a question without the words that refer back: "in 2021?" for "and in 2021?", nothing for "yes"."""
    return _REFERENCES.sub(" ", question)


def prepend_previous_question(history: Sequence[tuple[str, str]], question: str) -> str:
    """Return an elliptical question with the last one that was not in front of it, and any other as it is.

    `history` is (question, answer), oldest first, and not empty.
    """
    if not is_elliptical(question):
        return question
    earlier = next((asked for asked, _ in reversed(history) if not is_elliptical(asked)), history[0][0])
    return f"{earlier} {question}"


def condense(model: Model, history: Sequence[tuple[str, str]], question: str, cancel: threading.Event) -> str:
    """Return the question as the model rewrites it to stand alone, at temperature 0.

    If the model does not write a line of a question's size, or `cancel` is set meanwhile, the previous question is
    prepended instead.
    """
    written = "".join(Reply(model, condense_messages(history, question), _REWRITING).texts(cancel))
    lines = [line.strip(" \"'`") for line in _without_thoughts(written).splitlines() if line.strip()]
    usable = lines and _MIN_CHARACTERS <= len(lines[0]) <= _MAX_CHARACTERS and content_terms(lines[0])
    return lines[0] if usable and not cancel.is_set() else prepend_previous_question(history, question)


def passages_to_keep(passages: Sequence[Passage], cited: Iterable[int]) -> list[Passage]:
    """Return the passages of an earlier answer that stay in the prompt: those it cited, else the best."""
    numbers = [n for n in cited if 1 <= n <= len(passages)]
    chosen = [passages[n - 1] for n in numbers] or list(passages)
    return chosen[:_MAX_KEPT]


def _without_thoughts(text: str) -> str:
    return re.sub(r"<think>.*?(?:</think>|\Z)", "", text, flags=re.S)

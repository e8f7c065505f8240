"""Makes a follow-up question stand alone, and says which earlier evidence stays at hand; it looks nothing up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from assistant.config import Sampling
from assistant.prompt import condense_messages
from assistant.retrieve import Passage
from assistant.sentences import words

if TYPE_CHECKING:
    from assistant.llm import Model

_POINTS_BACK = re.compile(
    r"^\s*(?:and|but|or|so|also|yes|no|ok|okay|sure|please|continue|go on|what about|how about|why|which one)\b"
    r"|\b(?:it|its|they|them|their|that|this|those|these|he|she|his|her|the same|former|latter|above)\b",
    re.I,
)
_SHORT = 3  # content words below which a question cannot stand alone
_AT_HAND = 2  # passages of the turn before that stay in the prompt


def is_elliptical(question: str) -> bool:
    """Say whether a question leans on what was said before: "yes", "and in 2021?", "why did it fall?"."""
    return len(words(question)) < _SHORT or bool(_POINTS_BACK.search(question))


def join(history: Sequence[tuple[str, str]], question: str) -> str:
    """Return the question with the words of the last one that stood alone, where it leans on it; needs no model."""
    if not is_elliptical(question):
        return question
    earlier = next((asked for asked, _ in reversed(history) if not is_elliptical(asked)), history[0][0])
    return f"{earlier} {question}"


def condense(model: Model, history: Sequence[tuple[str, str]], question: str) -> str:
    """Return the question rewritten by the model, at temperature 0, so that it stands alone.

    What the model writes is used only if it is one line of a question's size; otherwise the words are joined.
    """
    from assistant.graph import complete

    sampling = Sampling(temperature=0.0, top_k=1, max_tokens=96, repetition_penalty=1.0)
    try:
        written = complete(model.build(sampling), condense_messages(history, question))
    except Exception as exc:
        explained = model.explain(exc)
        if explained is None:
            raise
        raise explained from exc
    lines = [line.strip(" \"'`") for line in _without_thoughts(written).splitlines() if line.strip()]
    if not lines or not 3 <= len(lines[0]) <= 400 or not words(lines[0]):
        return join(history, question)
    return lines[0]


def evidence_at_hand(passages: Sequence[Passage], cited: Iterable[int]) -> list[Passage]:
    """Return the earlier passages that stay in the prompt: what was cited, else the best."""
    numbers = [n for n in cited if 1 <= n <= len(passages)]
    chosen = [passages[n - 1] for n in numbers] or list(passages)
    return chosen[:_AT_HAND]


def _without_thoughts(text: str) -> str:
    return re.sub(r"<think>.*?(?:</think>|\Z)", "", text, flags=re.S)

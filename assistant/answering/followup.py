"""Makes a follow-up question stand alone, and says which earlier evidence stays at hand; it looks nothing up."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from assistant.answering.prompt import Message, condense_messages
from assistant.answering.sentences import words
from assistant.config import Sampling
from assistant.retrieval.search import Passage

if TYPE_CHECKING:
    from assistant.llm.model import Model

_POINTS_BACK = re.compile(
    r"^\s*(?:and|but|or|so|also|yes|no|ok|okay|sure|please|continue|go on|what about|how about|why|which one)\b"
    r"|\b(?:it|its|they|them|their|that|this|those|these|he|she|his|her|the same|former|latter|above)\b",
    re.I,
)
_POLL_SECONDS = 0.05  # how soon a cancel is seen
_SHORT = 3  # content words below which a question cannot stand alone
_AT_HAND = 2  # passages of the turn before that stay in the prompt


def is_elliptical(question: str) -> bool:
    """Say whether a question leans on what was said before: "yes", "and in 2021?", "why did it fall?"."""
    return len(words(question)) < _SHORT or bool(_POINTS_BACK.search(question))


def own_part(question: str) -> str:
    """Return a question without the words that point back: "and in 2021?" gives "in 2021?", "yes" nothing."""
    return _POINTS_BACK.sub(" ", question)


def join(history: Sequence[tuple[str, str]], question: str) -> str:
    """Return the question with the words of the last one that stood alone, where it leans on it; needs no model."""
    if not is_elliptical(question):
        return question
    earlier = next((asked for asked, _ in reversed(history) if not is_elliptical(asked)), history[0][0])
    return f"{earlier} {question}"


def condense(model: Model, history: Sequence[tuple[str, str]], question: str, cancel: threading.Event) -> str:
    """Return the question rewritten by the model, at temperature 0, so that it stands alone.

    What the model writes is used only if it is one line of a question's size; otherwise the words are joined. Setting
    `cancel` breaks the rewriting off.
    """
    sampling = Sampling(temperature=0.0, top_k=1, max_tokens=96, repetition_penalty=1.0)
    written = _written(model, model.build(sampling), condense_messages(history, question), cancel)
    lines = [line.strip(" \"'`") for line in _without_thoughts(written).splitlines() if line.strip()]
    if not lines or not 3 <= len(lines[0]) <= 400 or not words(lines[0]):
        return join(history, question)
    return lines[0]


def _written(model: Model, chat: Any, messages: Sequence[Message], cancel: threading.Event) -> str:
    """Return what the model writes, "" once it is cancelled; runs it in a thread so that it can be left."""
    from assistant.answering.graph import complete

    pool = ThreadPoolExecutor(max_workers=1)
    running = pool.submit(complete, chat, messages)
    pool.shutdown(wait=False)  # a model that cannot be broken off is left to itself
    while not cancel.is_set():
        try:
            return running.result(timeout=_POLL_SECONDS)
        except TimeoutError:
            if running.done():
                raise
        except Exception as exc:
            explained = model.explain(exc)
            if explained is None:
                raise
            raise explained from exc
    model.abort(chat)
    return ""


def evidence_at_hand(passages: Sequence[Passage], cited: Iterable[int]) -> list[Passage]:
    """Return the earlier passages that stay in the prompt: what was cited, else the best."""
    numbers = [n for n in cited if 1 <= n <= len(passages)]
    chosen = [passages[n - 1] for n in numbers] or list(passages)
    return chosen[:_AT_HAND]


def _without_thoughts(text: str) -> str:
    return re.sub(r"<think>.*?(?:</think>|\Z)", "", text, flags=re.S)

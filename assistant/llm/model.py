"""A model that can answer: its LangChain chat model, context window and token counter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assistant.config import Sampling
from assistant.errors import AssistantError
from assistant.llm.tokens import Count, estimate_tokens

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

QUOTES = "quotes"  # the name that means: no model, show excerpts


def _cannot_abort(_: Any) -> None:
    return None


def _no_explanation(_: Exception) -> AssistantError | None:
    return None


@dataclass(frozen=True)
class Model:
    """One model, ready to answer; safe to use from several threads."""

    name: str  # as `--model` takes it
    window: int  # tokens of prompt and answer together; the same for every call, so that a server never reloads
    build: Callable[[Sampling], BaseChatModel]  # returns a LangChain chat model with these sampling controls
    count: Count = estimate_tokens
    counts_exactly: bool = False  # `count` is the model's own tokenizer
    tools: bool = False  # can call tools
    reports_finish_reason: bool = False  # every complete answer ends with a finish reason
    abort: Callable[[Any], None] = _cannot_abort  # stop a built chat model, from any thread
    explain: Callable[[Exception], AssistantError | None] = _no_explanation  # translate an error of the model's library
    notices: tuple[str, ...] = ()  # shown with every answer of this model


def wrap_chat_model(
    chat: BaseChatModel, *, name: str, window: int = 8192, tools: bool = False, count: Count = estimate_tokens
) -> Model:
    """Return any LangChain chat model as a Model; it keeps its own sampling controls."""
    return Model(name=name, window=window, build=lambda _: chat, count=count, tools=tools)

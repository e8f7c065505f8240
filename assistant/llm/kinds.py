"""The kinds of models by the prefix of their names; each loads its library when used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from assistant.config import AssistantConfig, Sampling
from assistant.llm.model import QUOTES, Model
from quire import UsageError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

# Each but quotes is also the name of a module here, whose `load` is imported when a model of that kind is used.
KINDS = ("ollama", "gguf", "openai", "hf", QUOTES)


def split_name(name: str) -> tuple[str, str]:
    """Return (kind, rest) of a model's name; a bare name means Ollama. Raises UsageError for an empty one."""
    name = name.strip()
    if name == QUOTES:
        return QUOTES, ""
    kind, colon, rest = name.partition(":")
    if colon and kind in KINDS and kind != QUOTES:
        if not rest:
            raise UsageError(f"model is {name!r}", f"write {kind}:NAME")
        return kind, rest
    if not name:
        raise UsageError("the model has no name", "use ollama:NAME, gguf:PATH, openai:NAME, hf:NAME or quotes")
    return "ollama", name


def load_model(name: str, config: AssistantConfig) -> Model:
    """Return the model of that name, ready to answer.

    Raises UsageError for an invalid name, ModelUnreachable or ModelNotFound if the model is not available.
    """
    kind, rest = split_name(name)
    if kind == QUOTES:
        return quotes(config)
    model: Model = importlib.import_module(f"assistant.llm.{kind}").load(rest, config)
    return model


def quotes(config: AssistantConfig) -> Model:
    """Return the stand-in for no model: the agent answers with excerpts and never builds a chat model."""

    def refuse(_: Sampling) -> BaseChatModel:
        raise UsageError("quotes is not a language model", "choose one with --model, e.g. --model ollama:qwen2.5:3b")

    return Model(name=QUOTES, window=max(config.window, 32_768), build=refuse)

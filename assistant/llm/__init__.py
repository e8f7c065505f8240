"""Turns a model's name into a model that answers: `ollama:`, `gguf:`, `openai:`, `hf:` or `quotes`; libraries load on use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from assistant.answering.budget import Count, estimate_tokens
from assistant.config import AssistantConfig, Sampling
from assistant.errors import AssistantError
from quire import UsageError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

PROVIDERS = ("ollama", "gguf", "openai", "hf")
QUOTES = "quotes"
NO_MODEL = (
    "No language model was found, so you get excerpts. For answers: install Ollama, then `ollama pull qwen2.5:3b`."
)


def _nothing(_: Any) -> None:
    return None


def _unknown(_: Exception) -> AssistantError | None:
    return None


@dataclass(frozen=True)
class Model:
    """One model that can answer, with what the budget must know of it."""

    name: str  # as `--model` takes it
    window: int  # tokens of prompt and answer together; the same for every call, so that a server never reloads
    build: Callable[[Sampling], BaseChatModel]  # a LangChain chat model with these sampling controls
    count: Count = estimate_tokens
    counts_exactly: bool = False  # `count` is the model's own tokenizer
    tools: bool = False  # it can call tools
    says_when_done: bool = False  # every answer that came to its end names the reason
    abort: Callable[[Any], None] = field(
        default=_nothing
    )  # break off what a built chat model runs, from another thread
    explain: Callable[[Exception], AssistantError | None] = field(default=_unknown)  # a library's error in our words
    notices: tuple[str, ...] = ()  # what a person should know when this model answers


@dataclass(frozen=True)
class ModelEntry:
    """One line of the picker: a model that can answer now."""

    name: str
    size_bytes: int = 0
    parameters: str = ""  # "7.6B"
    quantization: str = ""  # "Q4_K_M"
    tuned: dict[str, Any] = field(default_factory=dict)  # the record models/TAG.json, empty for others
    note: str = ""


def split_name(name: str) -> tuple[str, str]:
    """Return (provider, model) of a model's name; a bare name means Ollama."""
    name = name.strip()
    if name == QUOTES:
        return QUOTES, ""
    provider, colon, rest = name.partition(":")
    if colon and provider in PROVIDERS:
        if not rest:
            raise UsageError(f"model is {name!r}", f"write {provider}:NAME")
        return provider, rest
    if not name:
        raise UsageError("no model is named", "use ollama:NAME, gguf:PATH, openai:NAME, hf:NAME or quotes")
    return "ollama", name


def load_model(name: str, config: AssistantConfig) -> Model:
    """Return the model of that name, ready to answer.

    Raises UsageError for a name that cannot be, ModelUnreachable or ModelNotFound where it cannot be had.
    """
    provider, rest = split_name(name)
    if provider == QUOTES:
        return quotes_model(config)
    if provider == "ollama":
        from assistant.llm.ollama import load as load_ollama

        return load_ollama(rest, config)
    if provider == "gguf":
        from assistant.llm.gguf import load as load_gguf

        return load_gguf(rest, config)
    if provider == "openai":
        from assistant.llm.openai import load as load_openai

        return load_openai(rest, config)
    from assistant.llm.hf import load as load_hf

    return load_hf(rest, config)


def choose_model(config: AssistantConfig) -> tuple[str, str]:
    """Return the name of the model to use and a notice: the one set, else Ollama's first chat model, else quotes."""
    if config.model:
        return config.model, ""
    from assistant.llm import servers

    first = servers.first_chat_model(config)
    return (f"ollama:{first}", "") if first else (QUOTES, NO_MODEL)


def list_models(config: AssistantConfig) -> list[ModelEntry]:
    """Return what can answer now: Ollama's chat models, those with a record of a training run marked, and quotes."""
    from assistant.llm import servers

    return [*servers.entries(config), ModelEntry(QUOTES, note="excerpts, no model")]


def quotes_model(config: AssistantConfig) -> Model:
    """Return the model that needs no model: it quotes the passages of its prompt."""

    def build(_: Sampling) -> BaseChatModel:
        from assistant.answering.quotes_model import QuotesModel

        return QuotesModel()

    return Model(name=QUOTES, window=max(config.window, 32_768), build=build)


def wrap(
    chat: BaseChatModel, *, name: str, window: int = 8192, tools: bool = False, count: Count = estimate_tokens
) -> Model:
    """Return any LangChain chat model as a Model; it keeps its own sampling controls."""
    return Model(name=name, window=window, build=lambda _: chat, count=count, tools=tools)

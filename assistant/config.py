"""Settings of the assistant, and the range of every sampling control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from quire import Setting, UsageError, home_folder, resolve_settings


@dataclass(frozen=True)
class Control:
    """One sampling control: its range and the step of its slider."""

    name: str
    label: str
    minimum: float
    maximum: float
    step: float
    help: str


# the flags of the commands, the sliders of the page and the check in Sampling use these ranges
CONTROLS: dict[str, Control] = {
    control.name: control
    for control in (
        Control("temperature", "Temperature", 0.0, 1.0, 0.1, "randomness; 0 always picks the most likely token"),
        Control("top_p", "Top-p", 0.0, 1.0, 0.01, "sample from the most likely tokens up to this total probability"),
        Control("top_k", "Top-k", 0, 200, 1, "sample from this many of the most likely tokens; 0 is off"),
        Control(
            "repetition_penalty", "Repetition penalty", 1.0, 2.0, 0.1, "lowers the odds of repeated tokens; 1 is off"
        ),
        Control("max_tokens", "Max new tokens", 1, 32_768, 1, "maximum length of an answer in tokens"),
        Control("seed", "Seed", -1, 2**31 - 1, 1, "a fixed seed repeats an answer; -1 picks a random one"),
    )
}


@dataclass(frozen=True)
class Sampling:
    """How a model samples its tokens; raises UsageError for a value out of range."""

    temperature: float = 0.2  # low, so that answers keep to the passages
    top_p: float = 0.9  # total probability of the tokens to sample from
    top_k: int = 40  # number of tokens to sample from; 0 is off
    repetition_penalty: float = 1.1  # small models repeat themselves at 1.0
    max_tokens: int = 1024  # maximum length of an answer; reserved in the context window
    seed: int = -1  # -1 lets the model pick one
    stop: tuple[str, ...] = ()  # texts that end an answer

    def __post_init__(self) -> None:
        for name, control in CONTROLS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UsageError(f"{name} is {value!r}", "use a number")
            if not control.minimum <= value <= control.maximum:
                raise UsageError(
                    f"{name} is {value}", f"use a value from {control.minimum:.10g} to {control.maximum:.10g}"
                )
        if len(self.stop) > 16 or any(not isinstance(text, str) or not text for text in self.stop):
            raise UsageError(f"stop is {self.stop!r}", "use at most 16 texts, none of them empty")


@dataclass(frozen=True)
class AssistantConfig:
    """Settings of the assistant; raises UsageError for a value out of range."""

    home: Path = field(default_factory=home_folder)  # folder of everything that quire stores
    model: str = ""  # ollama:NAME, gguf:PATH, openai:NAME, hf:NAME or quotes; empty: Ollama's first model, else quotes
    reranker: str = ""  # folder or OWNER/NAME of a cross-encoder that orders the first 30 pages again; empty: none
    passages: int = 6  # passages to search for each answer
    threshold: float = 0.15  # lowest probability of the best page at which questions are answered: docs/evaluation.md
    window: int = 8192  # context window in tokens, prompt and answer together; at most the model's own
    evidence_share: float = 0.7  # share of the prompt that passages may fill; the rest is for the history
    temperature: float = Sampling.temperature
    top_p: float = Sampling.top_p
    top_k: int = Sampling.top_k
    repetition_penalty: float = Sampling.repetition_penalty
    max_tokens: int = Sampling.max_tokens
    seed: int = Sampling.seed
    stop: str = ""  # texts that end an answer, separated by |
    system_prompt: str = ""  # instructions placed before the built-in system prompt
    tools: bool = False  # let a model that supports tool calls search again by itself
    tool_calls: int = 4  # maximum number of tool calls for one answer
    keep_conversations: bool = True  # False: write nothing of a conversation to disk
    conversation_log: str = ""  # file or http(s) address that receives one line a turn; empty is off
    conversation_log_redact: bool = False  # log statistics only, no text
    model_seconds: float = 300.0  # longest wait for a model's next token
    ollama_host: str = ""  # address of Ollama; empty tries the usual addresses
    openai_base_url: str = ""  # address of an OpenAI-compatible server
    openai_api_key: str = ""  # API key for that server

    def __post_init__(self) -> None:
        _ = self.sampling  # checks the sampling controls
        if not 1 <= self.passages <= 50:
            raise UsageError(f"passages is {self.passages}", "use 1 to 50")
        if not 0 <= self.threshold <= 1:
            raise UsageError(f"threshold is {self.threshold}", "use 0 to 1")
        if not 0.1 <= self.evidence_share <= 0.95:
            raise UsageError(f"evidence_share is {self.evidence_share}", "use 0.1 to 0.95")
        if self.window < 256:
            raise UsageError(f"window is {self.window}", "use at least 256 tokens")
        if not 1 <= self.tool_calls <= 20:
            raise UsageError(f"tool_calls is {self.tool_calls}", "use 1 to 20")

    @property
    def sampling(self) -> Sampling:
        """Return the sampling controls."""
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            repetition_penalty=self.repetition_penalty,
            max_tokens=self.max_tokens,
            seed=self.seed,
            stop=tuple(text for text in self.stop.split("|") if text),
        )


ENVIRONMENT: dict[str, tuple[str, ...]] = {
    "model": ("QUIRE_MODEL",),
    "reranker": ("QUIRE_RERANKER",),
    "ollama_host": ("OLLAMA_HOST", "OLLAMA_BASE_URL"),
    "openai_base_url": ("OPENAI_BASE_URL",),
    "openai_api_key": ("OPENAI_API_KEY",),
}


def load_config(
    *, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> tuple[AssistantConfig, list[Setting]]:
    """Return the effective settings and where each was set: default, quire.toml, environment or flag.

    Flags whose value is None, and those that are not settings, are ignored. Raises UsageError.
    """
    names = {field.name for field in fields(AssistantConfig)}
    flags = {name: value for name, value in (flags or {}).items() if name in names}
    return resolve_settings(
        AssistantConfig, ENVIRONMENT, section="assistant", flags=flags, environ=environ, folder=folder
    )

"""What the assistant can be told, with the ranges of every sampling control; values and names only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from quire import Setting, UsageError, home_folder, resolve_settings


@dataclass(frozen=True)
class Control:
    """One sampling control: the range it may have and the step a slider moves by."""

    name: str
    label: str
    minimum: float
    maximum: float
    step: float
    help: str


# The one place where ranges are written: the command, the page and the check below read them from here.
CONTROLS: dict[str, Control] = {
    c.name: c
    for c in (
        Control("temperature", "Temperature", 0.0, 1.0, 0.1, "0 is greedy and repeatable"),
        Control("top_p", "Top-p", 0.0, 1.0, 0.01, "share of probability that is sampled from"),
        Control("top_k", "Top-k", 0, 200, 1, "tokens that are sampled from; 0 is off"),
        Control("repetition_penalty", "Repetition penalty", 1.0, 2.0, 0.1, "1 is off"),
        Control("max_tokens", "Max new tokens", 1, 32_768, 1, "length an answer may have"),
        Control("seed", "Seed", -1, 2**31 - 1, 1, "the same seed repeats an answer; -1 draws one"),
    )
}


@dataclass(frozen=True)
class Sampling:
    """How a model draws its words; every field is checked against CONTROLS before anything is sent."""

    temperature: float = 0.2  # low: answers are read off passages, not invented
    top_p: float = 0.9  # share of probability sampled from
    top_k: int = 40  # tokens sampled from; 0 is off
    repetition_penalty: float = 1.1  # small models repeat themselves at 1.0
    max_tokens: int = 1024  # tokens an answer may have; reserved in the window
    seed: int = -1  # -1 = the model's own choice
    stop: tuple[str, ...] = ()  # texts that end an answer

    def __post_init__(self) -> None:
        for name, control in CONTROLS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UsageError(f"{name} is {value!r}", "it must be a number")
            if not control.minimum <= value <= control.maximum:
                raise UsageError(
                    f"{name} is {value}", f"use a value from {control.minimum:.10g} to {control.maximum:.10g}"
                )
        if len(self.stop) > 16 or any(not isinstance(text, str) or not text for text in self.stop):
            raise UsageError(f"stop is {self.stop!r}", "give at most 16 texts, none of them empty")


@dataclass(frozen=True)
class AssistantConfig:
    """Everything `assistant` can be told."""

    home: Path = field(default_factory=home_folder)  # folder of all that is kept
    model: str = ""  # ollama:NAME | gguf:PATH | openai:NAME | hf:NAME | quotes; empty = first of Ollama, else quotes
    passages: int = 6  # passages that are looked up for one answer
    threshold: float = 0.3  # passages that score lower are no evidence; how it was found: docs/evaluation.md
    window: int = 8192  # tokens of prompt and answer together; capped by the model's own window
    evidence_share: float = 0.7  # share of the room that passages may fill; the rest is history's
    temperature: float = Sampling.temperature
    top_p: float = Sampling.top_p
    top_k: int = Sampling.top_k
    repetition_penalty: float = Sampling.repetition_penalty
    max_tokens: int = Sampling.max_tokens
    seed: int = Sampling.seed
    stop: str = ""  # texts that end an answer, separated by |
    system_prompt: str = ""  # said to the model before our own instructions; empty = nothing
    tools: bool = False  # let a model that can call tools search again by itself
    tool_calls: int = 4  # tool calls one answer may make
    keep_conversations: bool = True  # False = nothing of a conversation is written to disk
    conversation_log: str = ""  # file or http(s) address that gets one line a turn; empty = off
    conversation_log_redact: bool = False  # leave the words out of that log, keep the figures
    model_seconds: float = 300.0  # wait for the next word of a model
    ollama_host: str = ""  # address of Ollama; empty = the usual places are tried
    openai_base_url: str = ""  # OpenAI-compatible endpoint
    openai_api_key: str = ""  # its key

    def __post_init__(self) -> None:
        _ = self.sampling  # refuses what is out of range
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
        """Return the sampling controls; raises UsageError for one out of range."""
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
    "ollama_host": ("OLLAMA_HOST", "OLLAMA_BASE_URL"),
    "openai_base_url": ("OPENAI_BASE_URL",),
    "openai_api_key": ("OPENAI_API_KEY",),
}


def load_config(
    *, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> tuple[AssistantConfig, list[Setting]]:
    """Return the assistant's settings in force and their origins: defaults, quire.toml, environment, flags."""
    known = {f.name for f in fields(AssistantConfig)}
    flags = {name: value for name, value in (flags or {}).items() if name in known}
    config, settings = resolve_settings(
        AssistantConfig, ENVIRONMENT, section="assistant", flags=flags, environ=environ, folder=folder
    )
    return config, settings

"""The models that can answer on this machine now, and the one that answers when none is set."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assistant.config import AssistantConfig
from assistant.llm import ollama_server
from assistant.llm.model import QUOTES

NO_MODEL = (
    "No language model was found, so you get excerpts. For answers: install Ollama, then `ollama pull qwen2.5:3b`."
)


@dataclass(frozen=True)
class ModelEntry:
    """A model in the list to choose from."""

    name: str
    size_bytes: int = 0
    parameters: str = ""  # "7.6B"
    quantization: str = ""  # "Q4_K_M"
    tuned: dict[str, Any] = field(default_factory=dict)  # the record models/TAG.json; empty if quire did not train it
    note: str = ""


def choose_model(config: AssistantConfig) -> tuple[str, str]:
    """Return the name of the model to use and a notice: the one set, else Ollama's first chat model, else quotes."""
    if config.model:
        return config.model, ""
    models = ollama_server.chat_models(config, quick=True)
    return (f"ollama:{models[0]['name']}", "") if models else (QUOTES, NO_MODEL)


def list_models(config: AssistantConfig) -> list[ModelEntry]:
    """Return Ollama's chat models, tuned ones with their record, and quotes."""
    records = tuned_records(config.home)
    entries = [_entry(model, records) for model in ollama_server.chat_models(config)]
    return [*entries, ModelEntry(QUOTES, note="excerpts, no model")]


def tuned_records(home: Path) -> dict[str, dict[str, Any]]:
    """Return the records `models/TAG.json` of the home folder by tag; unreadable files are skipped."""
    records = {}
    for path in sorted((home / "models").glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(record, dict):
            records[_tag(str(record.get("tag") or path.stem))] = record
    return records


def _entry(model: dict[str, Any], records: dict[str, dict[str, Any]]) -> ModelEntry:
    details = model.get("details") or {}
    name = str(model["name"])
    return ModelEntry(
        name=f"ollama:{name}",
        size_bytes=int(model.get("size") or 0),
        parameters=str(details.get("parameter_size") or ""),
        quantization=str(details.get("quantization_level") or ""),
        tuned=records.get(_tag(name), {}),
    )


def _tag(name: str) -> str:
    return name.lower().removesuffix(":latest")

"""How a model wants to be used, by the files that its makers put beside its weights."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.embed.architectures import POOLINGS, position_offset
from ingest.errors import EmbedderUnavailable

# what modules.json may list; the last part of the class's name, which has moved between versions
_MODULES = ("Transformer", "Pooling", "Normalize")
_OLD_POOLINGS = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max", "mean_sqrt_len_tokens": "mean"}
# what their makers ask for on the page of the model, in no file: name, before a question, before a text to be found
_PREFIXES = (re.compile(r"(multilingual-)?e5-(small|base|large)(-v2)?"), "query: ", "passage: ")
_MAX_TOKENS = 512  # if no file says how long a text may be


@dataclass(frozen=True)
class ModelSettings:
    """Pooling, prefixes and longest text of an embedding model; the defaults are those of sentence-transformers."""

    pooling: str = "mean"
    query_prefix: str = ""  # written before a question
    passage_prefix: str = ""  # written before a text to be found
    max_tokens: int = _MAX_TOKENS  # special tokens included
    lower_case: bool = False  # the text is made lower case before the tokenizer reads it


def read_settings(folder: Path, name: str) -> ModelSettings:
    """Return the settings of the model of that name in a folder.

    Raises EmbedderUnavailable for a module or a pooling that is not known here.
    """
    for module in read_json(folder / "modules.json", []):
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind not in _MODULES:
            raise EmbedderUnavailable(
                f"{folder / 'modules.json'} lists the module {kind}; known are {', '.join(_MODULES)}",
                "use a model without it",
            )
    prompts = read_json(folder / "config_sentence_transformers.json", {}).get("prompts") or {}
    known, *texts = _PREFIXES
    if not prompts and known.fullmatch(name):
        prompts = dict(zip(("query", "passage"), texts, strict=True))
    passage = next((prompts[name] for name in ("document", "passage", "corpus") if prompts.get(name)), "")
    length = read_json(folder / "sentence_bert_config.json", {})
    return ModelSettings(
        _pooling(folder),
        prompts.get("query") or "",
        passage,
        longest_text(folder),
        bool(length.get("do_lower_case", False)),
    )


def longest_text(folder: Path) -> int:
    """Return the most tokens of a text, by the model's settings and the size of its position table."""
    config = read_json(folder / "config.json", {})
    given = read_json(folder / "sentence_bert_config.json", {}).get("max_seq_length")
    given = given or read_json(folder / "tokenizer_config.json", {}).get("model_max_length") or _MAX_TOKENS
    return min(int(given), int(config.get("max_position_embeddings", _MAX_TOKENS)) - position_offset(config))


def read_json(path: Path, default: Any) -> Any:
    """Return a JSON file's value, `default` if there is no such file; raise EmbedderUnavailable if it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except (OSError, ValueError) as exc:
        raise EmbedderUnavailable(f"{path}: {exc}", "download the model again") from exc
    if not isinstance(value, type(default)):
        raise EmbedderUnavailable(f"{path} has the wrong form", "download the model again")
    return value


def _pooling(folder: Path) -> str:
    modules = read_json(folder / "modules.json", [])
    place = next((m["path"] for m in modules if str(m.get("type", "")).endswith("Pooling")), "1_Pooling")
    config = read_json(folder / place / "config.json", {})
    modes = config.get("pooling_mode", [])
    chosen = [modes] if isinstance(modes, str) else list(modes)
    chosen += [
        key.removeprefix("pooling_mode_") for key, on in config.items() if key.startswith("pooling_mode_") and on
    ]
    poolings = [_OLD_POOLINGS.get(mode, mode) for mode in chosen] or ["mean"]
    if len(poolings) > 1 or poolings[0] not in POOLINGS or not config.get("include_prompt", True):
        raise EmbedderUnavailable(
            f"{folder / place / 'config.json'} asks for the pooling {' and '.join(poolings)}"
            f"{' without the prompt' if not config.get('include_prompt', True) else ''}",
            f"use a model with one of {', '.join(POOLINGS)}",
        )
    return poolings[0]

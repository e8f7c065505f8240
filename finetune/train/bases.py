"""A base model before its weights are read: how they are stored, and what can be exported of it."""

import json
import re
from pathlib import Path
from typing import Any

from finetune.config import TrainConfig
from finetune.errors import ModelUnavailable
from finetune.hub_access import hub_or_cache
from finetune.train.architectures import ARCHITECTURES


def read_base_config(model: str, revision: str = "") -> dict[str, Any]:
    """Return the config of a base in a folder or on the hub; empty if it cannot be read, which loading reports."""
    path = Path(model).expanduser() / "config.json"
    if path.is_file():
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}
    from transformers import AutoConfig

    try:
        with hub_or_cache(model):
            return dict(AutoConfig.from_pretrained(model, revision=revision or None).to_dict())
    except (OSError, ValueError):
        return {}


def require_full_weights(config: TrainConfig) -> dict[str, Any]:
    """Return the config of a run's base; raises ModelUnavailable for one whose weights are stored in 4 or 8 bits.

    Adapters trained on such weights can be merged into no weights that were kept exactly.
    """
    found = read_base_config(config.model, config.revision)
    quantized = found.get("quantization_config")
    if not quantized:
        return found
    kind = dict(quantized) if isinstance(quantized, dict) else {}
    bits = 4 if kind.get("load_in_4bit") else 8 if kind.get("load_in_8bit") else kind.get("bits")
    how = str(kind.get("quant_method") or "an unknown method")
    stored = f"{bits} bits ({how})" if bits else f"fewer bits ({how})"
    original = re.sub(r"(-unsloth)?-(bnb-4bit|gptq.*|awq.*|int4.*|fp8.*)$", "", config.model, flags=re.IGNORECASE)
    named = f", such as {original}," if original != config.model else ""
    raise ModelUnavailable(
        f"the weights of {config.model} are stored in {stored}: what is trained on them cannot be merged exactly",
        f"give the original model{named} with --method qlora: it is loaded in 4 bits",
    )


def export_notice(base: dict[str, Any], model: str) -> str:
    """Return what cannot be exported of a base, for a notice before training; "" if nothing is known against it."""
    kind = str(base.get("model_type") or "")
    if not kind or kind in ARCHITECTURES:
        return ""
    return (
        f"{model} is of the kind {kind}: training, generate, chat, score and merge work, but gguf, ollama and plan are limited to "
        f"{', '.join(ARCHITECTURES)}, so no GGUF file can be written of this run"
    )

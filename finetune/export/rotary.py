"""Rotary positions (RoPE) as llama.cpp needs them: settings, order of rows, scaled frequencies."""

from typing import Any

import numpy as np

from finetune.safetensors_io import Floats

LLAMA = ("LlamaForCausalLM", "MistralForCausalLM")  # llama.cpp runs both as its architecture `llama`
_ROPE_TYPES = ("default", "linear", "yarn")
ROPE_TYPES: dict[str, tuple[str, ...]] = {
    "Qwen2ForCausalLM": _ROPE_TYPES,
    "PhiForCausalLM": _ROPE_TYPES,
    **dict.fromkeys(LLAMA, (*_ROPE_TYPES, "llama3")),
}


def rope(config: dict[str, Any]) -> dict[str, Any]:
    """Return the RoPE settings; versions of transformers store them under different keys."""
    found = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    share = 0.5 if config["architectures"][0] == "PhiForCausalLM" else 1.0
    return {
        **found,
        "rope_theta": float(found.get("rope_theta", config.get("rope_theta", 10000.0))),
        "rope_type": found.get("rope_type", found.get("type", "default")),
        "partial": float(found.get("partial_rotary_factor", config.get("partial_rotary_factor", share))),
    }


def head_size(config: dict[str, Any]) -> int:
    """Return the width of an attention head; some models have another than hidden size / heads."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def rotated_heads(name: str, config: dict[str, Any]) -> int:
    """Return how many heads a weight or bias of this GGUF name has whose rows need another order; 0 for others.

    transformers rotates the first half of a head against the second. llama.cpp's architecture `llama` rotates
    neighboring rows, as Meta's own code does.
    """
    if config["architectures"][0] not in LLAMA:
        return 0
    heads = int(config["num_attention_heads"])
    by_part = {"attn_q": heads, "attn_k": int(config.get("num_key_value_heads") or heads)}
    return next((count for part, count in by_part.items() if f".{part}." in name), 0)


def pair_rows(values: Floats, heads: int) -> Floats:
    """Return a matrix or vector with the two rows that are rotated together next to each other, head by head."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)


def frequency_factors(config: dict[str, Any]) -> Floats | None:
    """Return the factors by which RoPE of type llama3 divides its frequencies, [head size / 2]; None for other types.

    Waves longer than `original_max_position_embeddings / low_freq_factor` are slowed by `factor`, those shorter than
    `... / high_freq_factor` stay, and in between the two are blended.
    """
    settings = rope(config)
    if settings["rope_type"] != "llama3":
        return None
    size, factor = head_size(config), float(settings["factor"])
    low, high = float(settings["low_freq_factor"]), float(settings["high_freq_factor"])
    context = float(settings.get("original_max_position_embeddings") or config["max_position_embeddings"])
    frequencies = settings["rope_theta"] ** (-np.arange(0, size, 2, dtype=np.float64) / size)
    waves = context * frequencies / (2 * np.pi)  # in the original context
    share = np.clip((waves - low) / (high - low), 0.0, 1.0)  # of the unchanged frequency
    factors: Floats = (1.0 / ((1.0 - share) / factor + share)).astype(np.float32)
    return factors

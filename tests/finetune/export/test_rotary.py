"""Rotary positions: settings of every version, rows in llama.cpp's order, scaled frequencies as transformers has them."""

from typing import Any

import numpy as np
import pytest

from finetune.export.rotary import frequency_factors, head_size, pair_rows, rope, rotated_heads


def test_rope_is_found_where_older_versions_put_it() -> None:
    old = {"architectures": ["Qwen2ForCausalLM"], "rope_theta": 1e6, "rope_scaling": {"type": "yarn", "factor": 4.0}}
    assert rope(old) == {"type": "yarn", "factor": 4.0, "rope_theta": 1e6, "rope_type": "yarn", "partial": 1.0}
    phi = {"architectures": ["PhiForCausalLM"], "partial_rotary_factor": 0.4}
    assert rope(phi)["partial"] == 0.4 and rope(phi)["rope_theta"] == 10000.0


@pytest.mark.parametrize(
    "scaling",
    [
        {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
        {"factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 512},
    ],
)
def test_the_factors_of_llama3_lead_to_the_frequencies_of_transformers(scaling: dict[str, Any]) -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = LlamaConfig(
        hidden_size=512, num_attention_heads=4, head_dim=64, max_position_embeddings=131072,
        rope_parameters={"rope_type": "llama3", "rope_theta": 500000.0, **scaling},
    )  # fmt: skip
    wanted = LlamaRotaryEmbedding(config).inv_freq.numpy()
    factors = frequency_factors({**config.to_dict(), "architectures": ["LlamaForCausalLM"]})
    assert factors is not None and 1 < len(set(factors.tolist())) < len(factors)  # unchanged, blended and slowed ones
    assert np.allclose(500000.0 ** (-np.arange(0, 64, 2) / 64) / factors, wanted, rtol=1e-6)


def test_other_types_of_rope_have_no_factors() -> None:
    assert frequency_factors({"architectures": ["LlamaForCausalLM"], "rope_scaling": None}) is None


def test_rows_that_are_rotated_together_become_neighbors() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(12, 1)  # two heads of six rows
    assert pair_rows(rows, 2).ravel().tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
    assert pair_rows(rows.ravel(), 2).tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]


@pytest.mark.parametrize(
    ("architecture", "name", "heads"),
    [
        ("LlamaForCausalLM", "blk.3.attn_q.weight", 8),
        ("MistralForCausalLM", "blk.3.attn_k.weight", 2),
        ("LlamaForCausalLM", "blk.3.attn_k.bias", 2),
        ("LlamaForCausalLM", "blk.3.attn_v.weight", 0),
        ("LlamaForCausalLM", "blk.3.attn_output.weight", 0),
        ("LlamaForCausalLM", "token_embd.weight", 0),
        ("Qwen2ForCausalLM", "blk.3.attn_q.weight", 0),
    ],
)
def test_only_queries_and_keys_of_llama_are_reordered(architecture: str, name: str, heads: int) -> None:
    config = {"architectures": [architecture], "num_attention_heads": 8, "num_key_value_heads": 2}
    assert rotated_heads(name, config) == heads


def test_a_head_has_the_size_that_the_config_names() -> None:
    assert head_size({"hidden_size": 5120, "num_attention_heads": 32, "head_dim": 128}) == 128
    assert head_size({"hidden_size": 4096, "num_attention_heads": 32, "head_dim": None}) == 128

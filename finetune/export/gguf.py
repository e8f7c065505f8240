"""Writes a model folder as one GGUF file, tensor by tensor.

The file carries the chat template and stops of training, so prompts are rendered as in training. docs/export.md lists
what is written and why.
"""

import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.errors import AlreadyExists, UnsupportedModel
from finetune.export.rotary import LLAMA, ROPE_TYPES, frequency_factors, head_size, pair_rows, rope, rotated_heads
from finetune.export.vocabulary import Vocabulary, read_vocabulary
from finetune.safetensors_io import Floats, Tensor, check_space, from_float, has_own_head, list_tensors
from finetune.templates.jinja_and_go import to_jinja
from finetune.templates.template import Template

KINDS = ("F32", "F16", "BF16", "Q8_0")
FILE_TYPE = {"F32": 0, "F16": 1, "Q8_0": 7, "BF16": 32}  # general.file_type; Ollama reads it before it quantizes
BLOCK = 32  # weights in a Q8_0 block
ALIGNMENT = 32  # GGUF's default

_GATED = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
NAMES = {
    "Qwen2ForCausalLM": _GATED,
    **dict.fromkeys(LLAMA, _GATED),
    "PhiForCausalLM": {
        "model.embed_tokens": "token_embd",
        "model.final_layernorm": "output_norm",
        "lm_head": "output",
        "input_layernorm": "attn_norm",  # attention and feed-forward share it: the block is parallel
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.dense": "attn_output",
        "mlp.fc1": "ffn_up",
        "mlp.fc2": "ffn_down",
    },
}
ARCHITECTURE = {"Qwen2ForCausalLM": "qwen2", "PhiForCausalLM": "phi2", **dict.fromkeys(LLAMA, "llama")}


def write_gguf(
    model: Path,
    out: Path,
    *,
    template: Template,
    kind: str = "F16",
    system: str = "",
    name: str = "",
    onto: str = "",
) -> Path:
    """Write a model folder as GGUF in one of KINDS and return the path.

    `system` is a system prompt stored beside the template, `name` the model's name (empty: the folder's),
    `onto` what a QLoRA adapter was merged into, as `merge.json` spells it. Raises AlreadyExists, or UnsupportedModel for an architecture, tokenizer, RoPE or activation that llama.cpp runs differently.
    """
    if kind not in KINDS:
        raise UnsupportedModel(
            f"{kind!r} is not a supported GGUF type", f"use one of {', '.join(KINDS)}; Ollama makes K-quants"
        )
    if out.exists():
        raise AlreadyExists(f"{out} already exists", "choose another --out, or remove it")
    config = read_config(model)
    tensors = gguf_tensors(model, config)
    vocabulary = read_vocabulary(model, rows=tensors["token_embd.weight"].shape[0])
    check_space(out, sum(_nbytes(tensor.shape, stored_kind(tensor.shape, kind)) for tensor in tensors.values()))
    part = out.with_name(out.name + ".part")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        writer = _writer(part, config)
        _add_model_keys(writer, config, kind, name or model.name)
        _add_tokenizer_keys(writer, vocabulary, template, model)
        add_template_keys(writer, template, system)
        if onto:
            writer.add_string("quire.onto", onto)
        _write_tensors(writer, tensors, kind, config)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return out


def _writer(path: Path, config: dict[str, Any]) -> Any:
    from gguf import GGUFWriter

    return GGUFWriter(path, ARCHITECTURE[config["architectures"][0]])


# -- the model


def read_config(model: Path) -> dict[str, Any]:
    """Return a model's `config.json`; raises UnsupportedModel for a setting that llama.cpp would run differently."""
    path = model / "config.json"
    if not path.is_file():
        raise UnsupportedModel(f"{model} has no config.json", "pass the folder of a complete (merged) model")
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    architecture = (config.get("architectures") or ["none"])[0]
    if architecture not in ARCHITECTURE:
        raise UnsupportedModel(f"{path}: the architecture is {architecture}", f"supported: {', '.join(ARCHITECTURE)}")
    wants = {"hidden_act": "gelu_new" if architecture == "PhiForCausalLM" else "silu"}
    for key, value in wants.items():
        if config.get(key, value) != value:
            raise UnsupportedModel(
                f"{path}: {key} is {config[key]!r}", f"llama.cpp runs this architecture with {value}"
            )
    for key in ("use_sliding_window", "qk_layernorm"):
        if config.get(key):
            raise UnsupportedModel(f"{path}: {key} is set", "llama.cpp does not support it for this architecture")
    types = ROPE_TYPES[architecture]
    if rope(config)["rope_type"] not in types:
        raise UnsupportedModel(f"{path}: RoPE type {rope(config)['rope_type']!r}", f"supported: {', '.join(types)}")
    return config


def context_length(config: dict[str, Any]) -> int:
    """Return the longest context in which llama.cpp runs the model as transformers does, in tokens.

    Mistral-7B-v0.1 attends to its last 4,096 tokens only, and llama.cpp attends to all: the two agree up to there.
    """
    longest = int(config["max_position_embeddings"])
    if config["architectures"][0] != "MistralForCausalLM":
        return longest
    return min(longest, int(config.get("sliding_window", 4096) or longest))  # 4096: what transformers assumes


def _add_model_keys(writer: Any, config: dict[str, Any], kind: str, name: str) -> None:
    heads, size = config["num_attention_heads"], head_size(config)
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(FILE_TYPE[kind])
    if kind == "Q8_0":
        writer.add_quantization_version(2)
    writer.add_context_length(context_length(config))
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    if size * heads != config["hidden_size"]:
        writer.add_key_length(size)
        writer.add_value_length(size)
    if writer.arch == "phi2":
        writer.add_layer_norm_eps(config["layer_norm_eps"])
    else:
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    positions = rope(config)
    writer.add_rope_freq_base(positions["rope_theta"])
    writer.add_rope_dimension_count(int(positions["partial"] * size))
    if positions["rope_type"] in ("linear", "yarn"):  # llama3 has its factors as a tensor
        from gguf import RopeScalingType

        writer.add_rope_scaling_type(RopeScalingType(positions["rope_type"]))
        writer.add_rope_scaling_factor(float(positions["factor"]))
        if positions["rope_type"] == "yarn":
            writer.add_rope_scaling_orig_ctx_len(
                int(positions.get("original_max_position_embeddings") or config["max_position_embeddings"])
            )


def gguf_tensors(model: Path, config: dict[str, Any]) -> dict[str, Tensor]:
    """Return the model's tensors by their GGUF names.

    Raises UnsupportedModel for a tensor without a GGUF name: leaving one out would change every answer.
    """
    table = NAMES[config["architectures"][0]]
    found: dict[str, Tensor] = {}
    tensors = list_tensors(model)
    tied = bool(config.get("tie_word_embeddings")) and not has_own_head(tensors)
    for name, tensor in tensors.items():
        if name.endswith("rotary_emb.inv_freq") or (name.startswith("lm_head.") and tied):
            continue  # computed from the config, or a copy of token_embd
        stem, _, suffix = name.rpartition(".")
        block = ""
        if stem.startswith("model.layers."):
            _, _, number, stem = stem.split(".", 3)
            block = f"blk.{number}."
        if stem not in table:
            raise UnsupportedModel(
                f"{tensor.path}: the tensor {name} has no GGUF name in this architecture",
                "merge the adapter first (`quire finetune merge`)" if "lora" in name or "base_model" in name else "",
            )
        found[f"{block}{table[stem]}.{suffix}"] = tensor
    needed = "token_embd.weight" if tied else "output.weight"
    if needed not in found:
        raise UnsupportedModel(f"{model} has no tensor for {needed}", "pass the folder of a complete model")
    return found


def _write_tensors(writer: Any, tensors: dict[str, Tensor], kind: str, config: dict[str, Any]) -> None:
    factors = frequency_factors(config)
    if factors is not None:
        _add_tensor_info(writer, "rope_freqs.weight", factors.shape, "F32")
    for name, tensor in tensors.items():
        _add_tensor_info(writer, name, tensor.shape, stored_kind(tensor.shape, kind))
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        stream = writer.fout[0]
        if factors is not None:
            stream.write(b"\0" * (-stream.tell() % ALIGNMENT))
            stream.write(encode(factors, "F32"))
        for name, tensor in tensors.items():
            stream.write(b"\0" * (-stream.tell() % ALIGNMENT))
            stored = stored_kind(tensor.shape, kind)
            heads = rotated_heads(name, config)
            for piece in [pair_rows(tensor.read(), heads)] if heads else tensor.pieces():
                stream.write(encode(piece, stored))
        stream.write(b"\0" * (-stream.tell() % ALIGNMENT))
    finally:
        writer.close()


def _add_tensor_info(writer: Any, name: str, shape: tuple[int, ...], stored: str) -> None:
    from gguf import GGMLQuantizationType

    writer.add_tensor_info(name, shape, np.dtype(np.float32), _nbytes(shape, stored), GGMLQuantizationType[stored])


def stored_kind(shape: tuple[int, ...], kind: str) -> str:
    """Return the type of one tensor: F32 for vectors, F16 where Q8_0 blocks do not divide the rows, else `kind`."""
    if len(shape) == 1:
        return "F32"
    return "F16" if kind == "Q8_0" and shape[-1] % BLOCK else kind


def _nbytes(shape: tuple[int, ...], stored: str) -> int:
    return prod(shape) // BLOCK * (BLOCK + 2) if stored == "Q8_0" else prod(shape) * (4 if stored == "F32" else 2)


def encode(piece: Floats, stored: str) -> bytes:
    """Return whole rows of fp32 as bytes of a GGUF type."""
    if stored != "Q8_0":
        return from_float(piece, stored)
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    packed: NDArray[np.uint8] = quantize(piece, GGMLQuantizationType.Q8_0)
    return packed.tobytes()


# -- tokenizer and template


def _add_tokenizer_keys(writer: Any, vocabulary: Vocabulary, template: Template, model: Path) -> None:
    end = vocabulary.id_of(template.end_token)
    if end < 0:
        raise UnsupportedModel(
            f"{model}: the tokenizer has no {template.end_token!r}, the end token of the template {template.name!r}",
            "use the template that the run was trained with",
        )
    document = vocabulary.id_of("<|endoftext|>", "<|end_of_text|>", template.end_token)
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
        writer.add_add_space_prefix(template.puts_blank_before_text(vocabulary.leading))
    else:
        writer.add_token_merges(vocabulary.merges)
    writer.add_eos_token_id(end)
    # without these llama.cpp uses id 11, a comma, for BPE models
    writer.add_bos_token_id(vocabulary.id_of("<s>", "<|begin_of_text|>", vocabulary.tokens[document]))
    writer.add_pad_token_id(document)
    writer.add_unk_token_id(vocabulary.id_of("<unk>", vocabulary.tokens[document]))
    writer.add_add_bos_token(False)  # the template writes it
    writer.add_add_eos_token(False)


def add_template_keys(writer: Any, template: Template, system: str) -> None:
    """Add the chat template, the stops and the system prompt."""
    writer.add_chat_template(to_jinja(template))
    writer.add_string("quire.template", template.name)
    writer.add_array("quire.stops", list(stops_of(template)))
    if system:
        writer.add_string("quire.system", system)


def stops_of(template: Template) -> tuple[str, ...]:
    """Return the texts that end an answer, the template's end token first."""
    return tuple(dict.fromkeys((template.end_token, *template.stop)))

"""A model folder written as one GGUF file, tensor by tensor, with everything that llama.cpp and Ollama need to run it.

What is written where, and why, is in docs/export.md. The file names its own template and stops, so that whoever opens it
renders what the model was trained on.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.errors import AlreadyExists, UnsupportedModel
from finetune.export.safetensors_io import Floats, Tensor, check_space, tensors_of
from finetune.templates.languages import to_jinja
from finetune.templates.template import Template

KINDS = ("F32", "F16", "BF16", "Q8_0")
FILE_TYPE = {"F32": 0, "F16": 1, "Q8_0": 7, "BF16": 32}  # general.file_type; Ollama reads it before it quantises
MADE_BY_OLLAMA = {"Q4_K_S": 14, "Q4_K_M": 15}
BLOCK = 32  # numbers a Q8_0 block
ALIGNMENT = 32  # GGUF's default

NAMES = {
    "Qwen2ForCausalLM": {
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
    },
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
# Qwen2's own way to cut text before byte pairs are merged, as its tokenizer.json writes it; phi-2 has GPT-2's.
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
ARCHITECTURE = {"Qwen2ForCausalLM": "qwen2", "PhiForCausalLM": "phi2"}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What llama.cpp needs of a byte-level BPE tokenizer: every token in order of its id, with its type."""

    tokens: list[str]
    types: list[int]
    merges: list[str]
    pre: str  # name of the way text is cut before pairs are merged

    def id_of(self, token: str) -> int:
        """Look up a token; -1 when there is none."""
        return self.tokens.index(token) if token in self.tokens else -1


def write_gguf(
    model: Path, out: Path, *, template: Template, kind: str = "F16", system: str = "", name: str = ""
) -> Path:
    """Write a model folder as GGUF in one of KINDS and give the path.

    `system` is the system prompt named in the file beside the template. Raises AlreadyExists, or UnsupportedModel for an
    architecture, tokenizer, rope or activation that would not come out the same.
    """
    if kind not in KINDS:
        raise UnsupportedModel(
            f"GGUF type {kind!r} cannot be written", f"write one of {', '.join(KINDS)}; K-quants come from Ollama"
        )
    if out.exists():
        raise AlreadyExists(f"{out} is there already", "give another --out, or remove it")
    config = read_config(model)
    tensors = gguf_tensors(model, config)
    vocabulary = read_vocabulary(model, rows=tensors["token_embd.weight"].shape[0])
    check_space(out, sum(_nbytes(tensor, stored_kind(tensor, kind)) for tensor in tensors.values()))
    part = out.with_name(out.name + ".part")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        writer = _writer(part, config)
        _add_model_keys(writer, config, kind, name or model.name)
        _add_tokenizer_keys(writer, vocabulary, template, model)
        add_template_keys(writer, template, system)
        _write_tensors(writer, tensors, kind)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return out


def _writer(path: Path, config: dict[str, Any]) -> Any:
    from gguf import GGUFWriter

    return GGUFWriter(path, ARCHITECTURE[config["architectures"][0]])


# -- the model


def read_config(model: Path) -> dict[str, Any]:
    """Read and check `config.json`.

    Raises UnsupportedModel, naming the setting, for anything that llama.cpp would run differently.
    """
    path = model / "config.json"
    if not path.is_file():
        raise UnsupportedModel(f"{model} has no config.json", "give the folder of a whole (merged) model")
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    architecture = (config.get("architectures") or ["none"])[0]
    if architecture not in ARCHITECTURE:
        raise UnsupportedModel(
            f"{path}: the architecture is {architecture}", f"can be written: {', '.join(ARCHITECTURE)}"
        )
    wants = {"hidden_act": "silu" if architecture.startswith("Qwen2") else "gelu_new"}
    for key, value in wants.items():
        if config.get(key, value) != value:
            raise UnsupportedModel(
                f"{path}: {key} is {config[key]!r}", f"llama.cpp runs this architecture with {value}"
            )
    for key in ("use_sliding_window", "qk_layernorm"):
        if config.get(key):
            raise UnsupportedModel(f"{path}: {key} is on", "llama.cpp's graph for this architecture does not have it")
    if rope(config)["rope_type"] not in ("default", "linear", "yarn"):
        raise UnsupportedModel(f"{path}: rope type {rope(config)['rope_type']!r}", "known: default, linear, yarn")
    return config


def rope(config: dict[str, Any]) -> dict[str, Any]:
    """Give base, type and share of rotary positions, wherever a version of transformers put them."""
    found = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    qwen = config["architectures"][0] == "Qwen2ForCausalLM"
    return {
        **found,
        "rope_theta": float(found.get("rope_theta", config.get("rope_theta", 10000.0))),
        "rope_type": found.get("rope_type", found.get("type", "default")),
        "partial": float(found.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0 if qwen else 0.5))),
    }


def _add_model_keys(writer: Any, config: dict[str, Any], kind: str, name: str) -> None:
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(FILE_TYPE[kind])
    if kind == "Q8_0":
        writer.add_quantization_version(2)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(hidden)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    if writer.arch == "qwen2":
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    else:
        writer.add_layer_norm_eps(config["layer_norm_eps"])
    turns = rope(config)
    writer.add_rope_freq_base(turns["rope_theta"])
    writer.add_rope_dimension_count(int(turns["partial"] * (hidden // heads)))
    if turns["rope_type"] != "default":
        from gguf import RopeScalingType

        writer.add_rope_scaling_type(RopeScalingType(turns["rope_type"]))
        writer.add_rope_scaling_factor(float(turns["factor"]))
        if turns["rope_type"] == "yarn":
            writer.add_rope_scaling_orig_ctx_len(
                int(turns.get("original_max_position_embeddings") or config["max_position_embeddings"])
            )


def gguf_tensors(model: Path, config: dict[str, Any]) -> dict[str, Tensor]:
    """Give the model's tensors by their GGUF names.

    Raises UnsupportedModel for a tensor that has no place in the file: leaving one out would change every answer.
    """
    table = NAMES[config["architectures"][0]]
    found: dict[str, Tensor] = {}
    for name, tensor in tensors_of(model).items():
        if name.endswith("rotary_emb.inv_freq") or (name.startswith("lm_head.") and config.get("tie_word_embeddings")):
            continue  # computed from the config; the same numbers as token_embd
        stem, _, suffix = name.rpartition(".")
        block = ""
        if stem.startswith("model.layers."):
            _, _, number, stem = stem.split(".", 3)
            block = f"blk.{number}."
        if stem not in table:
            raise UnsupportedModel(
                f"{tensor.path}: the tensor {name} has no place in a GGUF of this architecture",
                "merge the adapter first (`quire finetune merge`)" if "lora" in name or "base_model" in name else "",
            )
        found[f"{block}{table[stem]}.{suffix}"] = tensor
    needed = "token_embd.weight" if config.get("tie_word_embeddings") else "output.weight"
    if needed not in found:
        raise UnsupportedModel(f"{model} has no tensor for {needed}", "give the folder of a whole model")
    return found


def _write_tensors(writer: Any, tensors: dict[str, Tensor], kind: str) -> None:
    from gguf import GGMLQuantizationType

    for name, tensor in tensors.items():
        stored = stored_kind(tensor, kind)
        writer.add_tensor_info(
            name, tensor.shape, np.dtype(np.float32), _nbytes(tensor, stored), GGMLQuantizationType[stored]
        )
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        stream = writer.fout[0]
        for tensor in tensors.values():
            stream.write(b"\0" * (-stream.tell() % ALIGNMENT))
            stored = stored_kind(tensor, kind)
            for piece in tensor.pieces():
                stream.write(encode(piece, stored))
        stream.write(b"\0" * (-stream.tell() % ALIGNMENT))
    finally:
        writer.close()


def stored_kind(tensor: Tensor, kind: str) -> str:
    """Say how a tensor is stored: vectors stay F32, and rows that no Q8_0 block divides are F16."""
    if len(tensor.shape) == 1:
        return "F32"
    return "F16" if kind == "Q8_0" and tensor.shape[-1] % BLOCK else kind


def _nbytes(tensor: Tensor, stored: str) -> int:
    return tensor.size // BLOCK * (BLOCK + 2) if stored == "Q8_0" else tensor.size * (4 if stored == "F32" else 2)


def encode(piece: Floats, stored: str) -> bytes:
    """Turn whole rows of fp32 into the bytes of a GGUF type."""
    from finetune.export.safetensors_io import from_float

    if stored != "Q8_0":
        return from_float(piece, stored)
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    packed: NDArray[np.uint8] = quantize(piece, GGMLQuantizationType.Q8_0)
    return packed.tobytes()


# -- the tokenizer


def read_vocabulary(model: Path, *, rows: int) -> Vocabulary:
    """Read `tokenizer.json` as llama.cpp wants it, padded to the `rows` of the embedding table.

    Raises UnsupportedModel for a tokenizer that is no byte-level BPE or cuts text in a way llama.cpp has no name for.
    """
    path = model / "tokenizer.json"
    if not path.is_file():
        raise UnsupportedModel(f"{model} has no tokenizer.json", "save the tokenizer with a fast tokenizer class")
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["model"].get("type", "BPE") != "BPE" or data["model"].get("byte_fallback"):
        raise UnsupportedModel(f"{path} is no byte-level BPE", "Qwen2.5 and Phi-2 have one; give their own tokenizer")
    by_id = {number: (token, 1) for token, number in data["model"]["vocab"].items()}
    for entry in data["added_tokens"]:
        by_id[entry["id"]] = (entry["content"], _added_type(entry))
    if max(by_id) >= rows:
        raise UnsupportedModel(
            f"{path} has the id {max(by_id)}, but the embedding table has {rows} rows", "give the model's own tokenizer"
        )
    padded = [by_id.get(number, (f"[PAD{number}]", 5)) for number in range(rows)]
    merges = [m if isinstance(m, str) else " ".join(m) for m in data["model"]["merges"]]
    return Vocabulary([t for t, _ in padded], [k for _, k in padded], merges, pre_tokenizer(data, path))


def _added_type(entry: dict[str, Any]) -> int:
    # llama.cpp's converter takes "<|...|>" for a control token whatever the tokenizer says of it
    content = entry["content"]
    return 3 if entry["special"] or (content.startswith("<|") and content.endswith("|>")) else 4


def pre_tokenizer(data: dict[str, Any], path: Path) -> str:
    """Name the way a tokenizer cuts text: `qwen2` or `phi-2` (GPT-2's own).

    Raises UnsupportedModel with what was found otherwise: llama.cpp would fall back to another cut without a word.
    """
    found = data.get("pre_tokenizer") or {}
    parts = found.get("pretokenizers", [found])
    splits = [p["pattern"].get("Regex") for p in parts if p.get("type") == "Split"]
    levels = [p for p in parts if p.get("type") == "ByteLevel"]
    plain = len(levels) == 1 and not levels[0].get("add_prefix_space")
    if plain and splits == [QWEN2_SPLIT] and not levels[0].get("use_regex", True):
        return "qwen2"
    if plain and not splits and len(parts) == 1 and levels[0].get("use_regex", True):
        return "phi-2"
    raise UnsupportedModel(
        f"{path} cuts text in a way that is neither Qwen2's nor GPT-2's: {json.dumps(found)[:200]}",
        "give the model's own tokenizer; llama.cpp knows pre-tokenizers by name only",
    )


def _add_tokenizer_keys(writer: Any, vocabulary: Vocabulary, template: Template, model: Path) -> None:
    end = vocabulary.id_of(template.end_token)
    if end < 0:
        raise UnsupportedModel(
            f"{model}: the tokenizer has no {template.end_token!r}, the end token of the template {template.name!r}",
            "the template must be the one that the run was trained with",
        )
    document = vocabulary.id_of("<|endoftext|>")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_eos_token_id(end)
    # without these llama.cpp takes id 11 (a comma) for BPE models
    writer.add_bos_token_id(document if document >= 0 else end)
    writer.add_pad_token_id(document if document >= 0 else end)
    writer.add_unk_token_id(document if document >= 0 else end)
    writer.add_add_bos_token(bool(template.start) and not template.start_every_turn)
    writer.add_add_eos_token(False)


def add_template_keys(writer: Any, template: Template, system: str) -> None:
    """Name the chat template, the stops and the system prompt in the file."""
    writer.add_chat_template(to_jinja(template))
    writer.add_string("quire.template", template.name)
    writer.add_array("quire.stops", list(stops_of(template)))
    if system:
        writer.add_string("quire.system", system)


def stops_of(template: Template) -> tuple[str, ...]:
    """Give the texts that end an answer: the template's end token first."""
    return tuple(dict.fromkeys((template.end_token, *template.stop)))


# -- reading back


@dataclass(frozen=True, slots=True)
class Header:
    """The keys of a GGUF file, without its tokens' bulk and without its weights."""

    path: Path
    keys: dict[str, Any]

    def get(self, key: str, default: Any = None) -> Any:
        """Give a key's value; `{arch}` in the name stands for the file's architecture."""
        return self.keys.get(key.replace("{arch}", str(self.keys.get("general.architecture"))), default)


def read_header(path: Path) -> Header:
    """Read the keys of a GGUF file; lists come as lists.

    Raises UnsupportedModel for a file that is no GGUF.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
    except (OSError, ValueError) as exc:
        raise UnsupportedModel(
            f"{path} cannot be read as GGUF: {exc}", "write it again with `quire finetune gguf`"
        ) from exc
    return Header(path, {name: field.contents() for name, field in reader.fields.items()})


def kind_of(path: Path) -> str:
    """Say how the matrices of a GGUF file are stored.

    Raises UnsupportedModel for a type whose limits nobody has measured.
    """
    number = read_header(path).get("general.file_type", FILE_TYPE["F16"])
    names = {value: name for name, value in (FILE_TYPE | MADE_BY_OLLAMA).items()}
    if number not in names:
        raise UnsupportedModel(
            f"{path} is stored as GGUF file type {number}", f"can be compared: {', '.join(names.values())}"
        )
    return names[number]

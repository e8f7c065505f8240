"""Writes a Qwen2-shaped chat model of a few hundred kB with random weights: it streams nonsense, which is all that is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def byte_tokens() -> list[str]:
    """Return the 256 symbols that byte-level vocabularies write bytes with, in the order of the bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    odd = [byte for byte in range(256) if byte not in printable]
    names = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(odd)}
    return [names[byte] for byte in range(256)]


def write_gguf(
    path: Path,
    *,
    context: int = 16_384,
    embedding: int = 64,
    layers: int = 2,
    seed: int = 1,
    entries: Sequence[str] = (),
) -> Path:
    """Write the model: 256 byte tokens, two merges, ChatML; it almost never draws the end, so answers run to their limit.

    `entries` are further ordinary entries of the vocabulary.
    """
    import gguf

    random = np.random.default_rng(seed)
    tokens = [*byte_tokens(), "Ġt", "he", *entries, *SPECIALS]
    writer = gguf.GGUFWriter(str(path), "qwen2")
    writer.add_context_length(context)
    writer.add_embedding_length(embedding)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(2 * embedding)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(1)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (len(tokens) - 3) + [3] * 3)
    writer.add_token_merges(["Ġ t", "h e"])
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_pad_token_id(len(tokens) - 3)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)

    def matrix(name: str, *shape: int) -> None:
        writer.add_tensor(name, (0.2 * random.standard_normal(shape)).astype(np.float16))

    def vector(name: str, size: int, value: float = 0.0) -> None:
        writer.add_tensor(name, np.full(size, value, dtype=np.float32))

    head = 0.2 * random.standard_normal((len(tokens), embedding))
    head[256:] = 0  # the specials' logits stay at zero, so the end is drawn in one of some hundred steps at most
    head[:32] = 0
    head[127:256] = 0  # only plain characters are written, whatever the seed
    matrix("token_embd.weight", len(tokens), embedding)
    writer.add_tensor("output.weight", (5 * head).astype(np.float16))
    vector("output_norm.weight", embedding, 1.0)
    for n in range(layers):
        vector(f"blk.{n}.attn_norm.weight", embedding, 1.0)
        vector(f"blk.{n}.ffn_norm.weight", embedding, 1.0)
        matrix(f"blk.{n}.attn_q.weight", embedding, embedding)
        vector(f"blk.{n}.attn_q.bias", embedding)
        for part in "kv":
            matrix(f"blk.{n}.attn_{part}.weight", embedding // 2, embedding)
            vector(f"blk.{n}.attn_{part}.bias", embedding // 2)
        matrix(f"blk.{n}.attn_output.weight", embedding, embedding)
        matrix(f"blk.{n}.ffn_gate.weight", 2 * embedding, embedding)
        matrix(f"blk.{n}.ffn_up.weight", 2 * embedding, embedding)
        matrix(f"blk.{n}.ffn_down.weight", embedding, 2 * embedding)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path

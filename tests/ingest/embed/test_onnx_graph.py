"""The graph of the encoder, and the weights it is built from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ingest.config import IngestConfig
from ingest.embed.encoder import SentenceEncoder
from ingest.embed.onnx_graph import quantize_rows, read_safetensors
from ingest.embed.weights import find_weights
from ingest.errors import EmbedderUnavailable
from tests.ingest.embed.tiny import TEXTS


def _plain_numpy(config: IngestConfig, text: str) -> np.ndarray:
    """The encoder once more, from the paper's formulas and without padding, masks or fused operators."""
    from math import erf

    import tokenizers

    weights = find_weights(config)
    w = {name: array.astype(np.float64) for name, array in read_safetensors(weights.model).items()}
    tokenizer = tokenizers.Tokenizer.from_file(str(weights.folder / "tokenizer.json"))
    tokenizer.no_padding()
    ids = tokenizer.encode(text).ids

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-12) * w[name + ".weight"] + w[name + ".bias"]

    e = "embeddings."
    x = w[e + "word_embeddings.weight"][ids] + w[e + "position_embeddings.weight"][: len(ids)]
    x = norm(x + w[e + "token_type_embeddings.weight"][0], e + "LayerNorm")
    for layer in range(6):
        p = f"encoder.layer.{layer}."
        q, k, v = (
            linear(x, f"{p}attention.self.{n}").reshape(len(ids), 12, 32).swapaxes(0, 1)
            for n in ("query", "key", "value")
        )
        scores = np.exp(q @ k.swapaxes(1, 2) / np.sqrt(32))
        context = (scores / scores.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(len(ids), 384)
        x = norm(linear(context, p + "attention.output.dense") + x, p + "attention.output.LayerNorm")
        h = linear(x, p + "intermediate.dense")
        h = h * 0.5 * (1 + np.vectorize(erf)(h / np.sqrt(2)))
        x = norm(linear(h, p + "output.dense") + x, p + "output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def test_fp32_agrees_with_the_formulas_in_any_batch(config: IngestConfig, exact: SentenceEncoder) -> None:
    rows = exact.embed_passages(TEXTS)
    for text, row in zip(TEXTS, rows, strict=True):
        assert row @ _plain_numpy(config, text) > 0.99999
        np.testing.assert_allclose(exact.embed_query(text), row, atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"\x10", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{]", b"\x02\0\0\0\0\0\0\0[]"])
def test_bytes_that_are_no_safetensors_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(EmbedderUnavailable, match="download the weights again"):
        read_safetensors(tmp_path / "model.safetensors")


def test_quantized_weights_are_within_half_a_step() -> None:
    weight = np.random.default_rng(0).normal(size=(6, 40)).astype(np.float32)
    weight[3] = 0
    packed, scale = quantize_rows(weight)
    assert np.abs(packed).max() == 63
    assert (np.abs(packed * scale[:, None] - weight) <= scale[:, None] * 0.501).all()

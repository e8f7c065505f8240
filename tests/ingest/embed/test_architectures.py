"""Graphs of every kind of model, beside transformers and sentence-transformers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ingest.config import IngestConfig
from ingest.embed.architectures import KINDS, relative_buckets
from ingest.embed.encoder import SentenceEncoder
from ingest.embed.load import load_embedder
from ingest.embed.weights import find_model
from ingest.errors import EmbedderUnavailable
from tests.ingest.embed import tiny

sentence_transformers = pytest.importorskip(
    "sentence_transformers",
    reason="the vectors are compared with those of sentence-transformers, which is not installed",
)
TEXTS = ["w1 w2 w3", "", "W4 a b", " ".join(f"w{n % 60}" for n in range(150)), "w5 unknown w6 w7 w8 w9 w10 w11 w12 w13"]


def _theirs(folder: Path, texts: list[str], *, question: bool = False) -> np.ndarray:
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    return (model.encode_query if question else model.encode_document)(texts)


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_of_every_kind_are_those_of_sentence_transformers(kind: str, tmp_path: Path) -> None:
    tiny.save_model(tmp_path / "model", kind)
    tiny.save_settings(tmp_path / "model")
    embedder = load_embedder(IngestConfig(home=tmp_path, embedder=f"hf:{tmp_path / 'model'}"))
    rows = embedder.embed_passages(TEXTS)
    assert rows.shape == (5, 32) and np.abs(rows[0] - rows[2]).max() > 0.01
    np.testing.assert_allclose(rows, _theirs(tmp_path / "model", TEXTS), atol=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_pooling_prompts_case_and_length_come_from_the_files_of_the_model(pooling: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    tiny.save_model(folder, "bert")
    prompts = {"query": "query: ", "document": "passage: "}
    tiny.save_settings(folder, pooling, prompts=prompts, max_seq_length=40, do_lower_case=True)
    embedder = load_embedder(IngestConfig(home=tmp_path, embedder=f"hf:{folder}"))
    np.testing.assert_allclose(embedder.embed_passages(TEXTS), _theirs(folder, TEXTS), atol=1e-4)
    np.testing.assert_allclose(embedder.embed_query(TEXTS[0]), _theirs(folder, TEXTS[:1], question=True)[0], atol=1e-4)
    identity = embedder.identity()
    assert (identity.query_prefix, identity.passage_prefix) == ("query: ", "passage: ")
    assert identity.revision.endswith(f"-fp32-{pooling}-40-lower") and identity.name == "model"


def test_weights_in_a_file_beside_the_graph_give_the_same_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.save_model(tmp_path / "model", "modernbert", hidden_size=64)
    weights = find_model(str(tmp_path / "model"))
    one_file = SentenceEncoder(weights, tmp_path / "one", precision="fp32").embed_passages(TEXTS)
    monkeypatch.setattr("ingest.embed.onnx_graph._MAX_BYTES_INSIDE", 0)
    two_files = SentenceEncoder(weights, tmp_path / "two", precision="fp32").embed_passages(TEXTS)
    np.testing.assert_array_equal(one_file, two_files)
    assert [path.suffix for path in sorted((tmp_path / "two").iterdir())] == [".sha256", ".onnx", ".weights"]


def test_weights_in_half_the_bytes_give_the_vectors_of_the_same_numbers_in_float32(tmp_path: Path) -> None:
    import torch

    folder = tmp_path / "model"
    model = tiny.save_model(folder, "roberta")
    for kind in (torch.bfloat16, torch.float16):
        rows = []
        for saved_as in (kind, torch.float32):
            model.to(saved_as).save_pretrained(folder)
            rows.append(load_embedder(IngestConfig(home=tmp_path, embedder=f"hf:{folder}")).embed_query("w1"))
        np.testing.assert_array_equal(*rows)
    assert (
        len(list((tmp_path / "models").glob("*.onnx"))) == 3
    )  # of two kinds of halves, and the same numbers in float32


def test_an_onnx_file_of_the_model_is_run_as_it_is_and_pooled(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    folder = tmp_path / "model"
    tiny.save_model(folder, "bert")
    tiny.save_settings(folder, "mean")
    # each token's output is (its number, 1): the mean of a text is (mean number, 1)
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["numbers", "two"], ["column"]),
        helper.make_node("Pow", ["column", "zero"], ["ones"]),
        helper.make_node("Concat", ["column", "ones"], ["last_hidden_state"], axis=-1),
    ]
    names = [("input_ids", TensorProto.INT64), ("attention_mask", TensorProto.INT64)]
    graph = helper.make_graph(
        nodes,
        "export",
        [helper.make_tensor_value_info(name, kind, ["batch", "tokens"]) for name, kind in names],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", 2])],
        [
            helper.make_tensor("two", TensorProto.INT64, [1], [2]),
            helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(model.SerializeToString())
    embedder = load_embedder(IngestConfig(home=tmp_path, embedder=f"hf:{folder}"))
    numbers = [0, 5, 6, 7, 2]  # <s> w0 w1 w2 </s>
    mean = np.array([np.mean(numbers), 1.0])
    np.testing.assert_allclose(embedder.embed_query("w0 w1 w2"), mean / np.linalg.norm(mean), atol=1e-6)
    assert not list((tmp_path / "models").glob("*.onnx"))


def test_distances_fall_into_the_buckets_of_transformers() -> None:
    import torch
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

    distances = np.arange(-600, 601)
    for count in (8, 32, 64):
        theirs = MPNetEncoder.relative_position_bucket(torch.tensor(distances), num_buckets=count).numpy()
        np.testing.assert_array_equal(relative_buckets(distances, count), theirs)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_type": "t5"}, r"names the model type 't5' \(use a model that ships ONNX"),
        ({"hidden_act": "relu"}, "hidden_act 'relu'; only 'gelu' is known"),
        ({"model_type": "roberta"}, "not a model of the kind roberta"),
    ],
)
def test_a_model_that_is_not_known_is_refused_with_the_reason(
    tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    folder = tmp_path / "model"
    tiny.save_model(folder, "mpnet")
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(EmbedderUnavailable, match=reason):
        load_embedder(IngestConfig(home=tmp_path, embedder=f"hf:{folder}"))


@pytest.mark.parametrize("content", ["", "{", '{"version": "1.0"}'])
def test_a_tokenizer_that_cannot_be_read_is_named_with_its_file(content: str, tmp_path: Path) -> None:
    tiny.save_model(tmp_path / "bert", "bert")
    (tmp_path / "bert" / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(EmbedderUnavailable, match=r"tokenizer\.json cannot be read"):
        load_embedder(IngestConfig(embedder=f"hf:{tmp_path / 'bert'}", home=tmp_path))


@pytest.mark.parametrize("change", [{"num_attention_heads": 7}, {"hidden_size": "abc"}, {"layer_norm_eps": None}])
def test_a_config_that_does_not_fit_the_weights_is_refused_also_after_the_right_one_was_used(
    change: dict[str, object], tmp_path: Path
) -> None:
    folder = tmp_path / "bert"
    tiny.save_model(folder, "bert")
    load_embedder(IngestConfig(embedder=f"hf:{folder}", home=tmp_path))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
    with pytest.raises(EmbedderUnavailable, match="bert"):
        load_embedder(IngestConfig(embedder=f"hf:{folder}", home=tmp_path))

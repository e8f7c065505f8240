"""ONNX graphs of BERT, RoBERTa, MPNet and ModernBERT models, built from their weights without torch.

Token ids and mask go in. Out comes one unit vector a text, or one logit for a pair of texts: pooling, normalization
and the classifier are part of the graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.embed.onnx_graph import GraphWriter
from ingest.errors import EmbedderUnavailable

Config = Mapping[str, Any]  # of config.json

KINDS = ("bert", "roberta", "xlm-roberta", "camembert", "mpnet", "modernbert")  # `model_type` of config.json
POOLINGS = ("mean", "cls", "max")
_FAR = -1e9  # added to the attention between tokens that do not see each other
_PREFIXES = ("bert.", "roberta.", "mpnet.", "model.")  # before the names of the encoder's tensors, if there is a head


def write_graph(
    tensors: Mapping[str, NDArray[Any]], config: Config, head: str, precision: str
) -> tuple[GraphWriter, list[str], str, int]:
    """Return the graph of a model, the names of its inputs and output, and the output's width.

    `head` is one of POOLINGS (output `vectors`, each row of length 1) or "logit" (output `logits`, one a pair). Raises
    EmbedderUnavailable if the model is of another kind than KINDS, or if `tensors` do not fit its kind.
    """
    kind = str(config.get("model_type"))
    _refuse_unknown(kind, config)
    graph = GraphWriter({_plain_name(name): tensor for name, tensor in tensors.items()}, precision)
    inputs = ["input_ids", "attention_mask"]
    segments = head == "logit" and kind == "bert" and config.get("type_vocab_size", 2) > 1
    if int(config["hidden_size"]) % int(config["num_attention_heads"]):
        raise ValueError(f"hidden_size {config['hidden_size']} over {config['num_attention_heads']} heads")
    try:
        hidden = _modernbert(graph, config) if kind == "modernbert" else _bert(graph, config, segments)
        if head == "logit":
            width = _logit(graph, hidden, kind, config)
        else:
            width = _pool(graph, hidden, head, int(config["hidden_size"]))
    except KeyError as exc:
        raise EmbedderUnavailable(
            f"the weights have no tensor {exc}: not {_named(kind)}{' with a classifier' * (head == 'logit')}",
            "use a model of another kind, or the files as its makers published them",
        ) from exc
    return graph, inputs + ["token_type_ids"] * segments, "logits" if head == "logit" else "vectors", width


def position_offset(config: Config) -> int:
    """Return how many rows at the start of the position table no token uses."""
    if config.get("model_type") in ("bert", "modernbert"):
        return 0
    return int(config.get("pad_token_id", 1)) + 1  # RoBERTa and MPNet count from the row after the padding


def _named(kind: str) -> str:
    return f"a model of the kind {kind}"


def _refuse_unknown(kind: str, config: Config) -> None:
    if kind not in KINDS:
        raise EmbedderUnavailable(
            f"config.json names the model type {kind!r}", f"use a model that ships ONNX, or one of {', '.join(KINDS)}"
        )
    expected = {"hidden_act": "gelu", "hidden_activation": "gelu", "position_embedding_type": "absolute"}
    for name, value in expected.items():
        if config.get(name, value) != value:
            raise EmbedderUnavailable(
                f"config.json has {name} {config[name]!r}; only {value!r} is known", "use another model"
            )


def _plain_name(name: str) -> str:
    """Return a tensor's name without the prefix of its encoder; files of 2019 call norm weights gamma and beta."""
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    return next((name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix)), name)


def _layer_count(graph: GraphWriter, prefix: str) -> int:
    place = prefix.count(".")
    numbers = [int(name.split(".")[place]) for name in graph.tensors if name.startswith(prefix)]
    if not numbers:
        raise KeyError(prefix + "0")
    return 1 + max(numbers)


def _words(graph: GraphWriter, name: str) -> str:
    words = graph.weight(name)
    if graph.precision == "fp32":
        return graph.node("Gather", [graph.constant("words", words), "input_ids"])
    # half the bytes to load, with a relative error under 2^-11
    table = graph.constant("words", words.astype(np.float16))
    return graph.node("Cast", [graph.node("Gather", [table, "input_ids"])], to=1)


def _token_count(graph: GraphWriter) -> str:
    shape = graph.node("Shape", ["input_ids"])
    return graph.node("Slice", [shape, graph.ints(1), graph.ints(2), graph.ints(0)])


def _distances(graph: GraphWriter) -> str:
    """Return the distance from each token to each other, int64 [tokens, tokens]."""
    count = graph.node("Squeeze", [_token_count(graph), graph.ints(0)])
    places = graph.node("Range", [graph.scalar(0), count, graph.scalar(1)])
    row = graph.node("Unsqueeze", [places, graph.ints(0)])
    return graph.node("Sub", [row, graph.node("Unsqueeze", [places, graph.ints(1)])])


def _bert(graph: GraphWriter, config: Config, segments: bool) -> str:
    """Write a BERT, RoBERTa or MPNet encoder and return the name of its output [batch, tokens, hidden]."""
    epsilon, heads = float(config.get("layer_norm_eps", 1e-12)), int(config["num_attention_heads"])
    places = graph.weight("embeddings.position_embeddings.weight")[position_offset(config) :]
    types = "embeddings.token_type_embeddings.weight"
    if graph.has(types) and not segments:
        # every text is segment 0, so its row is added to the positions once, here
        places = places + graph.weight(types)[0]
    words = _words(graph, "embeddings.word_embeddings.weight")
    if segments:
        kinds = graph.node("Gather", [graph.constant(types, graph.weight(types)), "token_type_ids"])
        words = graph.node("Add", [words, kinds])
    inputs = [graph.constant("places", places), graph.ints(0), _token_count(graph), graph.ints(0)]
    both = graph.node("Add", [words, graph.node("Slice", inputs)])
    norm = graph.norm_weights("embeddings.LayerNorm")
    hidden = graph.node("LayerNormalization", [both, *norm], axis=-1, epsilon=epsilon)
    mpnet = config["model_type"] == "mpnet"
    bias = _relative_bias(graph, config) if mpnet else ""
    for number in range(_layer_count(graph, "encoder.layer.")):
        prefix = f"encoder.layer.{number}."
        self_attention, output, norm_name = (
            ("attention.attn.", "attention.attn.o", "attention.LayerNorm")
            if mpnet
            else ("attention.self.", "attention.output.dense", "attention.output.LayerNorm")
        )
        names = [prefix + self_attention + part for part in ("qkv" if mpnet else ("query", "key", "value"))]
        attended = _attention(graph, hidden, names, heads, bias)
        hidden = _add_and_norm(graph, attended, hidden, prefix + output, prefix + norm_name, epsilon)
        inner = graph.multiply(hidden, graph.weight(prefix + "intermediate.dense.weight"), prefix + "intermediate")
        gelu_bias = graph.constant(prefix + "gelu_bias", graph.weight(prefix + "intermediate.dense.bias"))
        inner = graph.fused("BiasGelu", [inner, gelu_bias])
        hidden = _add_and_norm(graph, inner, hidden, prefix + "output.dense", prefix + "output.LayerNorm", epsilon)
    return hidden


def _attention(graph: GraphWriter, hidden: str, names: list[str], heads: int, relative: str) -> str:
    weight = np.concatenate([graph.weight(name + ".weight") for name in names])  # [3 hidden, hidden]
    bias = graph.constant(names[0] + ".biases", np.concatenate([graph.weight(name + ".bias") for name in names]))
    extra = ["", relative] if relative else []
    if graph.precision == "fp32":
        matrix = graph.constant(names[0] + ".weights", weight.T)
        return graph.fused("Attention", [hidden, matrix, bias, "attention_mask", *extra], num_heads=heads)
    together = graph.multiply(hidden, weight, names[0] + ".weights")
    parts = graph.nodes("Split", [together], 3, axis=-1)
    inputs = [*parts, bias, "attention_mask", *extra[1:]]
    return graph.fused("MultiHeadAttention", inputs, num_heads=heads)


def _add_and_norm(graph: GraphWriter, value: str, skip: str, dense: str, norm: str, epsilon: float) -> str:
    value = graph.multiply(value, graph.weight(dense + ".weight"), dense)
    bias = graph.constant(dense + ".bias", graph.weight(dense + ".bias"))
    return graph.fused("SkipLayerNormalization", [value, skip, *graph.norm_weights(norm), bias], epsilon=epsilon)


def _relative_bias(graph: GraphWriter, config: Config) -> str:
    """Return MPNet's bias of the attention by distance, float [1, heads, tokens, tokens], the same in all layers."""
    longest = int(config["max_position_embeddings"])
    table = graph.weight("encoder.relative_attention_bias.weight")  # [buckets, heads]
    buckets = relative_buckets(np.arange(1 - longest, longest), len(table))
    by_distance = graph.constant("relative", table[buckets].T)  # [heads, distances]
    places = graph.node("Add", [_distances(graph), graph.scalar(longest - 1)])
    return graph.node("Unsqueeze", [graph.node("Gather", [by_distance, places], axis=1), graph.ints(0)])


def relative_buckets(distance: NDArray[np.int64], count: int, *, farthest: int = 128) -> NDArray[np.int64]:
    """Return the bucket of each distance: half for tokens that follow, near ones exact and far ones by logarithm."""
    half, exact = count // 2, count // 4
    size = np.abs(distance)
    scaled = np.log(np.maximum(size, 1).astype(np.float32) / exact) / math.log(farthest / exact) * (half - exact)
    far = np.minimum(exact + scaled.astype(np.int64), half - 1)
    return np.asarray(np.where(size < exact, size, far) + half * (distance > 0), np.int64)


def _modernbert(graph: GraphWriter, config: Config) -> str:
    """Write a ModernBERT encoder and return the name of its output [batch, tokens, hidden]."""
    epsilon, heads = float(config.get("norm_eps", 1e-5)), int(config["num_attention_heads"])

    def norm(value: str, name: str) -> str:
        return graph.node("LayerNormalization", [value, *graph.norm_weights(name)], axis=-1, epsilon=epsilon)

    hidden = norm(_words(graph, "embeddings.tok_embeddings.weight"), "embeddings.norm")
    count = _layer_count(graph, "layers.")
    local = [kind == "sliding_attention" for kind in _layer_types(config, count)]
    window = _window(graph, int(config.get("local_attention", 128)) // 2)
    for number in range(count):
        prefix = f"layers.{number}."
        inner = norm(hidden, prefix + "attn_norm") if number else hidden
        parts = graph.nodes("Split", [graph.linear(inner, prefix + "attn.Wqkv")], 3, axis=-1)
        query, key = (_rotate(graph, part, config, local[number]) for part in parts[:2])
        inputs = [query, key, parts[2], "", "attention_mask", window if local[number] else ""]
        attended = graph.fused("MultiHeadAttention", inputs[: 6 if local[number] else 5], num_heads=heads)
        hidden = graph.node("Add", [hidden, graph.linear(attended, prefix + "attn.Wo")])
        inner = graph.linear(norm(hidden, prefix + "mlp_norm"), prefix + "mlp.Wi")
        value, gate = graph.nodes("Split", [inner], 2, axis=-1)
        gated = graph.node("Mul", [graph.fused("Gelu", [value]), gate])
        hidden = graph.node("Add", [hidden, graph.linear(gated, prefix + "mlp.Wo")])
    return norm(hidden, "final_norm")


def _layer_types(config: Config, count: int) -> list[str]:
    every = int(config.get("global_attn_every_n_layers", 3))
    types = ["sliding_attention" if number % every else "full_attention" for number in range(count)]
    return list(config.get("layer_types") or types)


def _window(graph: GraphWriter, reach: int) -> str:
    """Return what keeps tokens from those farther than `reach`, float [1, 1, tokens, tokens]."""
    far = graph.node("Greater", [graph.node("Abs", [_distances(graph)]), graph.scalar(reach)])
    hidden = graph.constant("far", np.array(_FAR, np.float32))
    mask = graph.node("Where", [far, hidden, graph.constant("near", np.array(0, np.float32))])
    return graph.node("Unsqueeze", [mask, graph.ints(0, 1)])


def _rotate(graph: GraphWriter, value: str, config: Config, local: bool) -> str:
    heads = int(config["num_attention_heads"])
    given = (config.get("rope_parameters") or {}).get("sliding_attention" if local else "full_attention") or {}
    if given.get("rope_type", "default") != "default" or config.get("rope_scaling"):
        raise EmbedderUnavailable("config.json scales the rotary positions", "use another model")
    name, default = ("local_rope_theta", 10_000.0) if local else ("global_rope_theta", 160_000.0)
    theta = float(given.get("rope_theta") or config.get(name) or default)
    width = int(config["hidden_size"]) // heads
    frequencies = 1 / theta ** (np.arange(0, width, 2, dtype=np.float32) / width)
    angles = np.outer(np.arange(int(config["max_position_embeddings"]), dtype=np.float32), frequencies)
    tables = [
        graph.constant(f"{part}_{theta:g}", function(angles).astype(np.float32))
        for part, function in (("cos", np.cos), ("sin", np.sin))
    ]
    return graph.fused("RotaryEmbedding", [value, graph.ints(0), *tables])


def _pool(graph: GraphWriter, hidden: str, pooling: str, width: int) -> int:
    if pooling == "cls":
        pooled = _first_token(graph, hidden)
    elif pooling == "max":
        empty = graph.node("Cast", [graph.node("Equal", ["attention_mask", _zero(graph)])], to=1)
        hide = graph.node("Mul", [empty, graph.constant("far", np.array(_FAR, np.float32))])
        shown = graph.node("Add", [hidden, graph.node("Unsqueeze", [hide, graph.ints(2)])])
        pooled = graph.node("ReduceMax", [shown], axes=[1], keepdims=0)
    else:
        mask = graph.node("Unsqueeze", [graph.node("Cast", ["attention_mask"], to=1), graph.ints(1)])
        # the sum will do for the mean: they have the same unit vector
        pooled = graph.node("Squeeze", [graph.node("MatMul", [mask, hidden]), graph.ints(1)])
    graph.node("LpNormalization", [pooled], name="vectors", axis=-1, p=2)
    return width


def _zero(graph: GraphWriter) -> str:
    return graph.constant("zero", np.array(0, np.int32))


def _first_token(graph: GraphWriter, hidden: str) -> str:
    return graph.node("Gather", [hidden, graph.scalar(0)], axis=1)


def _logit(graph: GraphWriter, hidden: str, kind: str, config: Config) -> int:
    """Write the classifier of a cross-encoder, which must have one output."""
    if kind == "modernbert":
        pooled = _first_token(graph, hidden) if config.get("classifier_pooling") != "mean" else _mean(graph, hidden)
        inner = graph.fused("Gelu", [graph.linear(pooled, "head.dense", exact=True)])
        epsilon = float(config.get("norm_eps", 1e-5))
        weights = graph.norm_weights("head.norm")
        inner = graph.node("LayerNormalization", [inner, *weights], axis=-1, epsilon=epsilon)
        last = "classifier"
    else:
        dense, last = ("pooler.dense", "classifier") if kind == "bert" else ("classifier.dense", "classifier.out_proj")
        inner = graph.node("Tanh", [graph.linear(_first_token(graph, hidden), dense, exact=True)])
    labels = len(graph.weight(last + ".weight"))
    if labels != 1:
        raise EmbedderUnavailable(
            f"its classifier has {labels} outputs, a reranker has one", "use a model made for reranking"
        )
    graph.node("Identity", [graph.linear(inner, last, exact=True)], name="logits")
    return 1


def _mean(graph: GraphWriter, hidden: str) -> str:
    mask = graph.node("Cast", ["attention_mask"], to=1)
    total = graph.node("MatMul", [graph.node("Unsqueeze", [mask, graph.ints(1)]), hidden])
    count = graph.node("ReduceSum", [mask, graph.ints(1)], keepdims=1)
    return graph.node("Div", [graph.node("Squeeze", [total, graph.ints(1)]), count])

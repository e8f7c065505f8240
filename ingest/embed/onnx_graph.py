"""The ONNX graph of a BERT sentence encoder, built from its weights without torch or an exporter.

Token ids and mask go in, unit vectors come out: pooling and normalization are part of the graph. It uses the fused
operators of ONNX Runtime (`com.microsoft`) directly, so that nothing is left to optimize when it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.errors import EmbedderUnavailable

PRECISIONS = ("fp32", "int8")
GRAPH_VERSION = 1  # increased if the vectors of the graph, or its file, change

# 7 bits: 255 * 63 * 2 still fits the 16-bit sums of AVX2, so nothing overflows on machines without VNNI
_INT8_LIMIT = 63


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a safetensors file by name; raise EmbedderUnavailable if it cannot be read."""
    import safetensors
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (OSError, KeyError, safetensors.SafetensorError) as exc:  # KeyError: a number type that NumPy lacks
        raise EmbedderUnavailable(
            f"{path} is not a readable safetensors file: {exc!r}", "download the weights again"
        ) from exc


def build_graph(
    tensors: Mapping[str, NDArray[Any]], *, heads: int, epsilon: float = 1e-12, precision: str = "fp32"
) -> bytes:
    """Return the serialized ONNX model of a BERT encoder with mean pooling.

    Inputs `input_ids` and `attention_mask` are int32 [batch, tokens]; output `vectors` is float32 [batch, hidden], each
    row of length 1. Raises EmbedderUnavailable if `tensors` are not those of such a model.
    """
    try:
        return _Writer(tensors, heads, epsilon, precision).write()
    except KeyError as exc:
        raise EmbedderUnavailable(
            f"the weights have no tensor {exc}: not a BERT encoder", "use the weights of all-MiniLM-L6-v2"
        ) from exc


def quantize_rows(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return weights [out, in] as int8 of the same shape, and one scale per output channel [out]."""
    scale = np.abs(weight).max(axis=1) / _INT8_LIMIT
    scale[scale == 0] = 1
    return np.rint(weight / scale[:, None]).astype(np.int8), scale.astype(np.float32)


class _Writer:
    """Collects nodes and weights while the encoder is built from bottom to top."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], heads: int, epsilon: float, precision: str) -> None:
        prefix = "bert." if "bert.embeddings.word_embeddings.weight" in tensors else ""
        self.tensors = {name.removeprefix(prefix): array for name, array in tensors.items()}
        self.heads, self.epsilon, self.precision = heads, epsilon, precision
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def write(self) -> bytes:
        from onnx import TensorProto, helper

        layers = 1 + max(int(n.split(".")[2]) for n in self.tensors if n.startswith("encoder.layer."))
        hidden = self._embeddings()
        for number in range(layers):
            hidden = self._layer(hidden, f"encoder.layer.{number}.")
        self._pool(hidden)
        width = self.tensors["embeddings.word_embeddings.weight"].shape[1]
        shape = ["batch", "tokens"]
        graph = helper.make_graph(
            self.nodes,
            "sentence_encoder",
            [helper.make_tensor_value_info(n, TensorProto.INT32, shape) for n in ("input_ids", "attention_mask")],
            [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", width])],
            self.constants,
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="quire")
        return bytes(model.SerializeToString())

    def _embeddings(self) -> str:
        words = self._weight("embeddings.word_embeddings.weight")
        # every text is segment 0, so its row is added to the positions once, here
        places = self._weight("embeddings.position_embeddings.weight")
        places = places + self._weight("embeddings.token_type_embeddings.weight")[0]
        if self.precision == "fp32":
            gathered = self._node("Gather", [self._constant("words", words), "input_ids"])
        else:  # half the bytes to load, with a relative error under 2^-11
            table = self._constant("words", words.astype(np.float16))
            gathered = self._node("Cast", [self._node("Gather", [table, "input_ids"])], to=1)
        tokens = self._node("Slice", [self._node("Shape", ["input_ids"]), self._ints(1), self._ints(2), self._ints(0)])
        place = self._node("Slice", [self._constant("places", places), self._ints(0), tokens, self._ints(0)])
        both = self._node("Add", [gathered, place])
        norm = self._norm("embeddings.LayerNorm")
        return str(self._node("LayerNormalization", [both, *norm], axis=-1, epsilon=self.epsilon))

    def _layer(self, hidden: str, prefix: str) -> str:
        attended = self._attention(hidden, prefix + "attention.self.")
        attended = self._linear(attended, prefix + "attention.output.dense")
        hidden = self._add_and_norm(attended, hidden, prefix + "attention.output.")
        inner = self._linear(hidden, prefix + "intermediate.dense")
        bias = self._constant(prefix + "gelu_bias", self._weight(prefix + "intermediate.dense.bias"))
        inner = self._fused("BiasGelu", [inner, bias])
        outer = self._linear(inner, prefix + "output.dense")
        return self._add_and_norm(outer, hidden, prefix + "output.")

    def _attention(self, hidden: str, prefix: str) -> str:
        parts = ("query", "key", "value")
        weight = np.concatenate([self._weight(f"{prefix}{part}.weight") for part in parts])  # [3 hidden, hidden]
        bias = self._constant(prefix + "bias", np.concatenate([self._weight(f"{prefix}{part}.bias") for part in parts]))
        if self.precision == "fp32":
            matrix = self._constant(prefix + "weight", weight.T)
            return self._fused("Attention", [hidden, matrix, bias, "attention_mask"], num_heads=self.heads)
        together = self._multiply(hidden, weight, prefix + "weight")
        query, key, value = self._node("Split", [together], outputs=3, axis=-1)
        inputs = [query, key, value, bias, "attention_mask"]
        return self._fused("MultiHeadAttention", inputs, num_heads=self.heads)

    def _linear(self, value: str, name: str) -> str:
        return self._multiply(value, self._weight(name + ".weight"), name)

    def _multiply(self, value: str, weight: NDArray[np.float32], name: str) -> str:
        """Write value [.., in] times weight [out, in] transposed; the fused operator that follows adds the bias."""
        if self.precision == "fp32":
            return str(self._node("MatMul", [value, self._constant(name, weight.T)]))
        packed, scale = quantize_rows(weight)
        inputs = [value, self._constant(name + ".int8", packed.T), self._constant(name + ".scale", scale)]
        return self._fused("DynamicQuantizeMatMul", inputs)

    def _add_and_norm(self, value: str, skip: str, prefix: str) -> str:
        bias = self._constant(prefix + "bias", self._weight(prefix + "dense.bias"))
        inputs = [value, skip, *self._norm(prefix + "LayerNorm"), bias]
        return self._fused("SkipLayerNormalization", inputs, epsilon=self.epsilon)

    def _pool(self, hidden: str) -> None:
        mask = self._node("Unsqueeze", [self._node("Cast", ["attention_mask"], to=1), self._ints(1)])
        total = self._node("Squeeze", [self._node("MatMul", [mask, hidden]), self._ints(1)])
        # the sum will do for the mean: they have the same unit vector
        self._node("LpNormalization", [total], name="vectors", axis=-1, p=2)

    def _norm(self, name: str) -> list[str]:
        return [self._constant(f"{name}.{part}", self._weight(f"{name}.{part}")) for part in ("weight", "bias")]

    def _weight(self, name: str) -> NDArray[np.float32]:
        return self.tensors[name].astype(np.float32)

    def _constant(self, name: str, array: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _ints(self, value: int) -> str:
        name = f"int_{value}"
        if all(constant.name != name for constant in self.constants):
            self._constant(name, np.array([value], np.int64))
        return name

    def _node(self, kind: str, inputs: list[str], *, outputs: int = 1, name: str = "", **attributes: Any) -> Any:
        from onnx import helper

        names = [name or f"{kind}_{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def _fused(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        return str(self._node(kind, inputs, domain="com.microsoft", **attributes))

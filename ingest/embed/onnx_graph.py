"""Writes an ONNX graph node by node, with its weights inside the file or in a second one beside it.

The graphs use the fused operators of ONNX Runtime (`com.microsoft`) directly, so that nothing is left to optimize when
they are loaded.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.errors import EmbedderUnavailable
from quire import write_atomically

PRECISIONS = ("fp32", "int8")
GRAPH_VERSION = 2  # increased if the vectors of a graph, or its file, change

# 7 bits: 255 * 63 * 2 still fits the 16-bit sums of AVX2, so nothing overflows on machines without VNNI
_INT8_LIMIT = 63
_MAX_BYTES_INSIDE = 1_500_000_000  # a protobuf message ends at 2 GB; larger weights go into a file of their own
_ALIGNMENT = 4096  # of weights in that file, so that they can be mapped into memory


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a safetensors file by name; raise EmbedderUnavailable if it cannot be read."""
    import safetensors
    from safetensors.numpy import load_file

    try:
        try:
            return load_file(path)
        except (KeyError, TypeError):  # a number type that NumPy lacks
            entries = safetensors.deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
            return {name: _bfloat16(entry) for name, entry in entries}
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as exc:
        raise EmbedderUnavailable(
            f"{path} is not a readable safetensors file: {exc!r}", "download the weights again"
        ) from exc


def _bfloat16(entry: Mapping[str, Any]) -> NDArray[Any]:
    """Return a tensor of a file in bfloat16: these are the upper halves of float32 numbers."""
    kinds = {"BF16": np.uint16, "F16": np.float16, "F32": np.float32, "I64": np.int64}
    values = np.frombuffer(entry["data"], kinds[entry["dtype"]]).reshape(entry["shape"])
    return (values.astype(np.uint32) << 16).view(np.float32) if entry["dtype"] == "BF16" else values


def quantize_rows(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return weights [out, in] as int8 of the same shape, and one scale per output channel [out]."""
    scale = np.abs(weight).max(axis=1) / _INT8_LIMIT
    scale[scale == 0] = 1
    return np.rint(weight / scale[:, None]).astype(np.int8), scale.astype(np.float32)


class GraphWriter:
    """Collects nodes and weights while a graph is written from its inputs to its output."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], precision: str) -> None:
        self.tensors, self.precision = tensors, precision
        self._nodes: list[Any] = []
        self._constants: dict[str, NDArray[Any]] = {}

    def has(self, name: str) -> bool:
        """Return whether the model has a tensor of this name."""
        return name in self.tensors

    def weight(self, name: str) -> NDArray[np.float32]:
        """Return a tensor of the model as float32; raise KeyError if there is none."""
        return self.tensors[name].astype(np.float32, copy=False)

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """Add a constant and return its name; the same name twice is the same constant."""
        self._constants.setdefault(name, array)
        return name

    def ints(self, *values: int) -> str:
        """Add a constant of whole numbers and return its name."""
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def scalar(self, value: int) -> str:
        """Add a constant without dimensions and return its name."""
        return self.constant(f"scalar_{value}", np.array(value, np.int64))

    def node(self, kind: str, inputs: list[str], *, name: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        return self.nodes(kind, inputs, [name] if name else 1, **attributes)[0]

    def nodes(self, kind: str, inputs: list[str], outputs: int | list[str], **attributes: Any) -> list[str]:
        """Add a node and return the names of its outputs."""
        from onnx import helper

        names = outputs if isinstance(outputs, list) else [f"{kind}_{len(self._nodes)}_{n}" for n in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names

    def fused(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Add a node of ONNX Runtime's own operators and return its output's name."""
        return self.node(kind, inputs, domain="com.microsoft", **attributes)

    def multiply(self, value: str, weight: NDArray[np.float32], name: str, *, exact: bool = False) -> str:
        """Multiply value [.., in] by weight [out, in] transposed; the operator that follows adds the bias."""
        if self.precision == "fp32" or exact:
            return self.node("MatMul", [value, self.constant(name, weight.T)])
        packed, scale = quantize_rows(weight)
        inputs = [value, self.constant(name + ".int8", packed.T), self.constant(name + ".scale", scale)]
        return self.fused("DynamicQuantizeMatMul", inputs)

    def linear(self, value: str, name: str, *, exact: bool = False) -> str:
        """Apply the linear layer `name`, with its bias if it has one."""
        product = self.multiply(value, self.weight(name + ".weight"), name + ".weight", exact=exact)
        if not self.has(name + ".bias"):
            return product
        return self.node("Add", [product, self.constant(name + ".bias", self.weight(name + ".bias"))])

    def norm_weights(self, name: str) -> list[str]:
        """Add the weight of a layer norm, and its bias if it has one, and return their names."""
        parts = [part for part in (f"{name}.weight", f"{name}.bias") if part.endswith("weight") or self.has(part)]
        return [self.constant(part, self.weight(part)) for part in parts]

    def save(self, path: Path, inputs: list[str], output: str, width: int) -> Path | bytes:
        """Write the graph to `path` and return that; its bytes if the folder cannot be written.

        `inputs` are int32 [batch, tokens], `output` is float32 [batch, width]. Raises EmbedderUnavailable if the folder
        cannot be written and the weights are too large for one file.
        """
        outside = sum(array.nbytes for array in self._constants.values()) > _MAX_BYTES_INSIDE
        try:
            model = self._model(inputs, output, width, path.with_suffix(".weights") if outside else None)
        except OSError as exc:
            raise EmbedderUnavailable(
                f"{path.parent}: {exc.strerror or exc}", "free some disk space, or set QUIRE_HOME to another folder"
            ) from exc
        try:
            write_atomically(path, model)
        except OSError:
            if outside:
                raise
            return model
        return path

    def _model(self, inputs: list[str], output: str, width: int, outside: Path | None) -> bytes:
        from onnx import TensorProto, helper

        graph = helper.make_graph(
            self._nodes,
            "encoder",
            [helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "tokens"]) for name in inputs],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", width])],
            self._initializers(outside),
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="quire")
        return bytes(model.SerializeToString())

    def _initializers(self, outside: Path | None) -> list[Any]:
        from onnx import TensorProto, helper, numpy_helper

        if outside is None:
            return [numpy_helper.from_array(np.asarray(a, order="C"), name) for name, a in self._constants.items()]
        found = []
        outside.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=outside.parent, suffix=".part", delete=False) as file:
            try:
                for name, array in self._constants.items():
                    if array.nbytes <= _ALIGNMENT:  # shapes are computed from these
                        found.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
                        continue
                    file.seek(-file.tell() % _ALIGNMENT, os.SEEK_CUR)
                    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
                    tensor = TensorProto(name=name, data_type=kind, dims=array.shape)
                    tensor.data_location = TensorProto.EXTERNAL
                    place = {"location": outside.name, "offset": file.tell(), "length": array.nbytes}
                    for key, value in place.items():
                        tensor.external_data.add(key=key, value=str(value))
                    file.write(array.tobytes())
                    found.append(tensor)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
        Path(file.name).replace(outside)
        return found

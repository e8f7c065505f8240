"""Texts to arrays with one model: its tokenizer, its graph, and ONNX Runtime, without torch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.embed.architectures import write_graph
from ingest.embed.model_settings import read_json
from ingest.embed.onnx_graph import GRAPH_VERSION, read_safetensors
from ingest.embed.weights import Weights, fetch_hint
from ingest.errors import EmbedderUnavailable
from quire import available_cores, sha256_of_file, write_atomically

logger = logging.getLogger(__name__)

# texts; 4 to 16 are equally fast on a processor if sorted by length, and 32 takes three times the memory
_BATCH, _BATCH_ON_CUDA = 8, 64
_AS_PUBLISHED = "use the files as its makers published them"


class Runtime:
    """A model that is loaded once; `head` is what its graph ends with, as `write_graph` takes it."""

    def __init__(
        self, weights: Weights, models: Path, *, head: str, precision: str, max_tokens: int, threads: int = 0
    ) -> None:
        import tokenizers

        self.fingerprint = _fingerprint(weights, models)
        path = weights.folder / "tokenizer.json"
        try:
            self.tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as exc:  # the library raises no other class
            raise EmbedderUnavailable(f"{path} cannot be read: {exc}", _AS_PUBLISHED) from exc
        self.tokenizer.enable_truncation(max_tokens)
        self.tokenizer.no_padding()  # done below, to the longest text of each batch
        graph: Path | bytes = weights.model
        if weights.model.suffix == ".onnx":
            precision = "fp32"  # the file is run as it is
        else:
            graph = _graph(weights, self.fingerprint, models, head, precision)
        self.precision = precision
        self._session = _open_session(graph, threads or available_cores(), precision)
        self._batch = _BATCH_ON_CUDA if "CUDAExecutionProvider" in self._session.get_providers() else _BATCH
        self._inputs = {entry.name: entry.type for entry in self._session.get_inputs()}
        names = [entry.name for entry in self._session.get_outputs()]
        # an exported graph may end before the pooling, after it, or with both
        self.output = next((name for name in ("vectors", "logits", "sentence_embedding") if name in names), names[0])
        width = self._session.get_outputs()[names.index(self.output)].shape[-1]
        self.width = width if isinstance(width, int) else int(next(self.run(["width"]))[1].shape[-1])

    def run(self, texts: Sequence[str] | Sequence[tuple[str, str]]) -> Iterator[tuple[list[int], Any, NDArray[Any]]]:
        """Yield, batch by batch, the positions of its texts, the graph's output and the mask [batch, tokens]."""
        encodings = self.tokenizer.encode_batch(list(texts))
        # texts of about equal length together, so that little is padded
        order = sorted(range(len(encodings)), key=lambda index: len(encodings[index].ids))
        for start in range(0, len(order), self._batch):
            indices = order[start : start + self._batch]
            arrays = _padded([encodings[index] for index in indices])
            kinds = {name: np.int64 if "int64" in kind else np.int32 for name, kind in self._inputs.items()}
            given = {name: arrays[name].astype(kind) for name, kind in kinds.items()}
            yield indices, self._session.run([self.output], given)[0], arrays["attention_mask"]


def _padded(encodings: Sequence[Any]) -> dict[str, NDArray[Any]]:
    shape = (len(encodings), max(len(encoding.ids) for encoding in encodings))
    arrays = {name: np.zeros(shape, np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
    for row, encoding in enumerate(encodings):
        length = len(encoding.ids)
        arrays["input_ids"][row, :length], arrays["attention_mask"][row, :length] = encoding.ids, 1
        arrays["token_type_ids"][row, :length] = encoding.type_ids
    return arrays


def _fingerprint(weights: Weights, models: Path) -> str:
    """Return the sha256 of the weights; it is cached by path, size and modification time, since hashing 90 MB is slow.

    Raises EmbedderUnavailable if it is not the expected one.
    """
    files = [weights.model, *sorted(weights.model.parent.glob(f"{weights.model.name}[._]data"))]
    facts = [(path.resolve(), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    key = hashlib.sha256(" ".join(str(fact) for file in facts for fact in file).encode()).hexdigest()
    stamp = models / f"{key[:16]}.sha256"
    sha256 = stamp.read_text(encoding="ascii").strip() if stamp.is_file() else ""
    if len(sha256) != 64:
        hashes = [sha256_of_file(path) for path in files]
        sha256 = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
        with contextlib.suppress(OSError):  # a read-only home: it is hashed again next time
            write_atomically(stamp, sha256.encode("ascii"))
    if weights.sha256 and sha256 != weights.sha256:
        with contextlib.suppress(OSError):
            stamp.unlink(missing_ok=True)
        raise EmbedderUnavailable(
            f"{weights.model} has sha256 {sha256}, expected {weights.sha256}: damaged or changed",
            f"{fetch_hint()} --force-reinstall",
        )
    return sha256


def _graph(weights: Weights, fingerprint: str, models: Path, head: str, precision: str) -> Path | bytes:
    """Return the path of the graph of these weights, built if it is not cached; its bytes if it cannot be cached."""
    config = read_json(weights.folder / "config.json", {})
    if not config:
        raise EmbedderUnavailable(f"{weights.folder / 'config.json'} is missing", fetch_hint())
    shape = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[
        :8
    ]  # it decides what the weights mean
    path = models / f"encoder-{fingerprint[:16]}-{shape}-{head}-{precision}-{GRAPH_VERSION}.onnx"
    if path.is_file():
        return path
    try:
        graph, inputs, output, width = write_graph(read_safetensors(weights.model), config, head, precision)
    except EmbedderUnavailable as exc:
        raise EmbedderUnavailable(f"{weights.folder}: {exc.message}", exc.hint) from exc
    except (TypeError, ValueError, ArithmeticError) as exc:
        raise EmbedderUnavailable(
            f"{weights.folder}: config.json does not fit the weights: {exc}", _AS_PUBLISHED
        ) from exc
    saved = graph.save(path, inputs, output, width)
    if isinstance(saved, bytes):
        logger.info("%s cannot be written; the graph is built again next time", path)
    return saved


def _open_session(graph: Path | bytes, threads: int, precision: str) -> Any:
    # since 1.29 ONNX Runtime reports its use over the network and keeps a device id under ~/.cache; this turns it off,
    # but only before the first import (its Privacy.md)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    if precision == "fp32" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, "CUDAExecutionProvider")  # of onnxruntime-gpu, which has no kernels for our int8
    try:
        return onnxruntime.InferenceSession(graph, options, providers=providers)
    except Exception as exc:  # its exception classes have no other common base
        name = graph if isinstance(graph, Path) else "the graph of the model"
        raise EmbedderUnavailable(f"{name} cannot be loaded: {exc}", "delete that file and run again") from exc

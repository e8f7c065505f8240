"""all-MiniLM-L6-v2 on the processor, with `tokenizers` and ONNX Runtime, without torch."""

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

from ingest.embed.identity import EmbedderIdentity, Vectors, to_unit_length
from ingest.embed.onnx_graph import GRAPH_VERSION, build_graph, read_safetensors
from ingest.embed.weights import Weights, fetch_hint
from ingest.errors import EmbedderUnavailable
from quire import available_cores, sha256_of_file, write_atomically

logger = logging.getLogger(__name__)

DEFAULT_PRECISION = "int8"  # docs/embedding.md has the measurements
_MAX_TOKENS = 256  # the length the model was made for; its tokenizer.json says 128
_BATCH = 8  # texts; 4 to 16 are equally fast if sorted by length, and 32 takes three times the memory


class MiniLM:
    """all-MiniLM-L6-v2, loaded once; safe to call from one thread at a time."""

    def __init__(self, weights: Weights, models: Path, *, precision: str = DEFAULT_PRECISION, threads: int = 0) -> None:
        import tokenizers

        self._tokenizer = tokenizers.Tokenizer.from_file(str(weights.folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(_MAX_TOKENS)
        self._tokenizer.no_padding()  # done below, to the longest text of each batch
        fingerprint = _fingerprint(weights, models)
        graph: Path | bytes
        if weights.model.suffix == ".onnx":
            precision, graph = "fp32", weights.model
        else:
            graph = _graph(weights, fingerprint, models, precision)
        self._session = _open_session(graph, threads or available_cores())
        self._inputs = {entry.name: entry.type for entry in self._session.get_inputs()}
        self._pooled = self._session.get_outputs()[0].name == "vectors"
        dimension = int(self._session.get_outputs()[0].shape[-1])
        self._identity = EmbedderIdentity("all-MiniLM-L6-v2", f"{fingerprint[:12]}-{precision}", dimension)

    def identity(self) -> EmbedderIdentity:
        """Return name, hash of the weights with precision, and dimension."""
        return self._identity

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors [texts, dimension], rows in the order of `texts`."""
        encodings = self._tokenizer.encode_batch(list(texts))
        rows = np.empty((len(encodings), self._identity.dimension), np.float32)
        for indices in _batches([len(encoding.ids) for encoding in encodings]):
            rows[indices] = self._run([encodings[index].ids for index in indices])
        return rows

    def embed_query(self, text: str) -> Vectors:
        """Return the unit vector [dimension] of a question."""
        row: Vectors = self.embed_passages([text])[0]
        return row

    def _run(self, token_ids: list[list[int]]) -> Vectors:
        ids = np.zeros((len(token_ids), max(map(len, token_ids))), np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(token_ids):
            ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
        arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        kinds = {name: np.int64 if "int64" in kind else np.int32 for name, kind in self._inputs.items()}
        output = self._session.run(None, {name: arrays[name].astype(kind) for name, kind in kinds.items()})[0]
        if self._pooled:
            return np.asarray(output, np.float32)
        return to_unit_length((output * mask[:, :, None]).sum(axis=1))  # an exported graph has no pooling


def _batches(lengths: list[int]) -> Iterator[list[int]]:
    """Yield the indices of texts of about equal length together, so that little is padded."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for start in range(0, len(order), _BATCH):
        yield order[start : start + _BATCH]


def _fingerprint(weights: Weights, models: Path) -> str:
    """Return the sha256 of the weights; it is cached by path, size and modification time, since hashing 90 MB is slow.

    Raises EmbedderUnavailable if it is not the expected one.
    """
    status = weights.model.stat()
    key = hashlib.sha256(f"{weights.model.resolve()} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()
    stamp = models / f"{key[:16]}.sha256"
    sha256 = stamp.read_text(encoding="ascii").strip() if stamp.is_file() else ""
    if len(sha256) != 64:
        sha256 = sha256_of_file(weights.model)
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


def _graph(weights: Weights, fingerprint: str, models: Path, precision: str) -> Path | bytes:
    """Return the path of the graph of these weights, built if it is not cached; its bytes if it cannot be cached."""
    path = models / f"minilm-{fingerprint[:16]}-{precision}-{GRAPH_VERSION}.onnx"
    if not path.is_file():
        try:
            shape: dict[str, Any] = json.loads((weights.folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise EmbedderUnavailable(f"{weights.folder / 'config.json'}: {exc}", fetch_hint()) from exc
        graph = build_graph(
            read_safetensors(weights.model),
            heads=int(shape.get("num_attention_heads", 12)),
            epsilon=float(shape.get("layer_norm_eps", 1e-12)),
            precision=precision,
        )
        try:
            write_atomically(path, graph)
        except OSError as exc:
            logger.info("%s: %s; the graph is built again next time", path, exc)
            return graph
    return path


def _open_session(graph: Path | bytes, threads: int) -> Any:
    # since 1.29 ONNX Runtime reports its use over the network and keeps a device id under ~/.cache; this turns it off,
    # but only before the first import (its Privacy.md)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # its exception classes have no other common base
        name = graph if isinstance(graph, Path) else "the graph of all-MiniLM-L6-v2"
        raise EmbedderUnavailable(f"{name} cannot be loaded: {exc}", "delete that file and run again") from exc

"""The tensors of a safetensors folder, read and written in pieces of a few megabytes.

Why not the `safetensors` library: its numpy side cannot read bfloat16 (0.8.0: "data type 'bfloat16' not understood").
Its torch side took 12.6 s and 2,075 MB at peak (310 MB of them torch's, most of the others the mapped file) to read
twelve bf16 matrices, 1.6 GB, in pieces of 16 MiB as fp32; this module takes 4.1 s and 139 MB. And it writes a file only
from tensors that are all in memory.
"""

import json
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from finetune.errors import ExportError, UnsupportedModel

PIECE_BYTES = 32 * 2**20  # as fp32; larger pieces were not faster on a local disk
SHARD_BYTES = 4 * 10**9  # of the order that the hub and transformers write by default
ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor's bytes are on disk."""

    name: str
    dtype: str  # F32, F16 or BF16
    shape: tuple[int, ...]
    path: Path
    offset: int  # bytes from the start of the file

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return prod(self.shape)

    def pieces(self, piece_bytes: int = PIECE_BYTES) -> Iterator[Floats]:
        """Yield the tensor as fp32 in pieces of whole rows, a vector as one piece."""
        columns = self.shape[-1] if len(self.shape) > 1 else self.size
        step = max(1, piece_bytes // (4 * columns)) * columns
        for start in range(0, self.size, step):
            count = min(step, self.size - start)
            values = to_float(self._read(start, count), self.dtype)
            yield values.reshape(-1, columns) if len(self.shape) > 1 else values

    def read(self) -> Floats:
        """Return the whole tensor as fp32."""
        return to_float(self._read(0, self.size), self.dtype).reshape(self.shape)

    def _read(self, start: int, count: int) -> NDArray[np.generic]:
        kind = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[self.dtype]
        offset = self.offset + start * ITEM_BYTES[self.dtype]
        return np.fromfile(self.path, dtype=kind, count=count, offset=offset)


def to_float(values: NDArray[np.generic], dtype: str) -> Floats:
    """Return stored numbers as fp32; BF16 comes as uint16 bit patterns."""
    if dtype == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32)


def from_float(values: Floats, dtype: str) -> bytes:
    """Return fp32 numbers as bytes of a stored type, rounded to nearest, ties to even.

    Raises UnsupportedModel for a number outside the range of F16.
    """
    if dtype == "BF16":
        bits = np.ascontiguousarray(values).view(np.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        return rounded.astype("<u2").tobytes()
    if dtype == "F16":
        with np.errstate(over="ignore"):
            narrow = values.astype("<f2")
        if not np.isfinite(narrow).all() and np.isfinite(values).all():
            raise UnsupportedModel(
                f"a weight of {float(np.abs(values).max()):.4g} is outside the range of F16 (65504)",
                "export as BF16 or F32",
            )
        return narrow.tobytes()
    return values.astype("<f4").tobytes()


def list_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of every safetensors file in a folder by name, in the order of their bytes.

    Raises UnsupportedModel when the folder has none, lacks a shard that its index names, or stores weights in a type
    other than F32, F16 and BF16; ExportError for an incomplete file.
    """
    names = sorted(p.name for p in folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing or not names:
        problem = f"lacks {', '.join(missing)}" if missing else "contains no *.safetensors file"
        raise UnsupportedModel(f"{folder} {problem}", "pass a complete model folder, saved as safetensors")
    found: dict[str, Tensor] = {}
    for name in names:
        for tensor in _header(folder / name):
            found[tensor.name] = tensor
    return found


def _header(path: Path) -> Iterator[Tensor]:
    hint = "copy or download it again, or train again"
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(min(length, size)))
        header.pop("__metadata__", None)
        expected = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ExportError(f"{path} is not a complete safetensors file: {exc}", hint) from exc
    if size < expected:
        raise ExportError(f"{path} is truncated: {size:,} bytes, its header requires {expected:,}", hint)
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"][0]):
        if entry["dtype"] not in ITEM_BYTES:
            raise UnsupportedModel(
                f"{path}: {name} is stored as {entry['dtype']}",
                "only F32, F16 and BF16 weights can be read; pass the unquantized model",
            )
        yield Tensor(name, entry["dtype"], tuple(entry["shape"]), path, 8 + length + entry["data_offsets"][0])


class ShardWriter:
    """Writes one safetensors file: names and shapes first, then the bytes in the same order."""

    def __init__(self, path: Path, tensors: Sequence[tuple[str, str, tuple[int, ...]]]) -> None:
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        offset = 0
        for name, dtype, shape in tensors:
            end = offset + prod(shape) * ITEM_BYTES[dtype]
            header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
            offset = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._stream: BinaryIO = path.open("wb")
        self._stream.write(struct.pack("<Q", len(text)) + text)
        self._end = 8 + len(text) + offset
        self.path = path

    def write(self, data: bytes) -> None:
        """Append the next bytes."""
        self._stream.write(data)

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        position = self._stream.tell()
        self._stream.close()
        if kind is None and position != self._end:
            raise AssertionError(f"{self.path}: {position} bytes written, its header requires {self._end}")


def check_space(out: Path, nbytes: int) -> None:
    """Raise ExportError when the disk of `out` has less than `nbytes` free."""
    place = next(folder for folder in out.absolute().parents if folder.is_dir())
    free = shutil.disk_usage(place).free
    if free < nbytes:
        raise ExportError(
            f"{out} needs {nbytes / 1e9:,.2f} GB, and {free / 1e9:,.2f} GB are free in {place}",
            "free some space, or choose a folder on another disk (scratch files go to QUIRE_HOME)",
        )


def plan_shards(tensors: Mapping[str, Tensor], dtype: str, shard_bytes: int = SHARD_BYTES) -> list[list[Tensor]]:
    """Return tensors grouped into files of at most `shard_bytes`, or of a single larger tensor."""
    shards: list[list[Tensor]] = [[]]
    filled = 0
    for tensor in tensors.values():
        nbytes = tensor.size * ITEM_BYTES[dtype]
        if shards[-1] and filled + nbytes > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(tensor)
        filled += nbytes
    return shards


def has_own_head(tensors: dict[str, Tensor]) -> bool:
    """Return whether a model stores an output head that differs from its embedding, whatever its config says."""
    head, table = tensors.get("lm_head.weight"), tensors.get("model.embed_tokens.weight")
    if head is None or table is None:
        return head is not None
    if head.shape != table.shape:
        return True
    pairs = zip(head.pieces(), table.pieces(), strict=True)
    return any(not np.array_equal(one, other, equal_nan=True) for one, other in pairs)

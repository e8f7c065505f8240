"""Reading and writing safetensors in pieces."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from finetune.errors import ExportError, UnsupportedModel
from finetune.safetensors_io import ShardWriter, check_space, from_float, list_tensors, plan_shards, to_float


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_pieces_put_together_are_the_tensor(tmp_path: Path, dtype: torch.dtype) -> None:
    wanted = torch.randn(37, 64, generator=torch.Generator().manual_seed(1)).to(dtype)
    save_file({"w": wanted, "v": wanted[0].clone()}, tmp_path / "model.safetensors")
    tensors = list_tensors(tmp_path)
    pieces = list(tensors["w"].pieces(piece_bytes=10 * 64 * 4))
    assert [len(p) for p in pieces] == [10, 10, 10, 7]
    assert np.array_equal(np.concatenate(pieces), wanted.float().numpy())
    assert np.array_equal(tensors["v"].read(), wanted[0].float().numpy())


def test_bf16_rounds_as_torch_does() -> None:
    values = torch.cat([torch.randn(5000), torch.tensor([0.0, -0.0, 1e-40, 3e38, 1.00390625, 1.01171875])])
    assert from_float(values.numpy(), "BF16") == values.bfloat16().view(torch.int16).numpy().tobytes()
    assert np.array_equal(to_float(np.array([0x3F80], np.uint16), "BF16"), [1.0])


def test_a_weight_outside_the_range_of_f16_is_refused_with_other_types() -> None:
    with pytest.raises(UnsupportedModel, match="BF16 or F32"):
        from_float(np.array([70000.0], np.float32), "F16")


def test_what_the_writer_writes_safetensors_reads(tmp_path: Path) -> None:
    values = {"a": torch.randn(3, 4), "b": torch.randn(7)}
    path = tmp_path / "out.safetensors"
    with ShardWriter(path, [(n, "F32", tuple(t.shape)) for n, t in values.items()]) as writer:
        for tensor in values.values():
            writer.write(from_float(tensor.numpy(), "F32"))
    found = load_file(path)
    assert all(torch.equal(found[n], values[n]) for n in values)


def test_a_short_write_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="header requires"), ShardWriter(tmp_path / "x", [("a", "F32", (4,))]):
        pass


def test_shards_are_filled_up_to_their_size(tmp_path: Path) -> None:
    save_file({f"t{i}": torch.zeros(10, 10) for i in range(5)}, tmp_path / "model.safetensors")
    shards = plan_shards(list_tensors(tmp_path), "F32", shard_bytes=800)
    assert [[t.name for t in s] for s in shards] == [["t0", "t1"], ["t2", "t3"], ["t4"]]


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": "part-2.safetensors"}}))
    with pytest.raises(UnsupportedModel, match=r"lacks part-2\.safetensors"):
        list_tensors(tmp_path)


def test_weights_in_another_type_are_refused_by_name(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(4, dtype=torch.uint8)}, tmp_path / "model.safetensors")
    with pytest.raises(UnsupportedModel, match="w is stored as U8"):
        list_tensors(tmp_path)


@pytest.mark.parametrize("size", [0, 5, 60, -1])
def test_a_truncated_file_is_named(tmp_path: Path, size: int) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(8, 8), "b": torch.zeros(4)}, path)
    data = path.read_bytes()
    path.write_bytes(data[:size])
    with pytest.raises(ExportError, match=r"model\.safetensors is (truncated|not a complete safetensors file).*again"):
        list_tensors(tmp_path)


def test_a_full_disk_is_reported_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: whole._replace(free=999_999_999))
    check_space(tmp_path / "new" / "m.gguf", 999_999_999)
    with pytest.raises(ExportError, match=r"m\.gguf needs 1\.50 GB, and 1\.00 GB are free in .*free some space"):
        check_space(tmp_path / "new" / "m.gguf", 1_500_000_000)

"""The cached reference values belong to one base, one type and one kind of device."""

from pathlib import Path

import pytest
import torch

from finetune.config import build
from finetune.errors import TrainingFailed
from finetune.train.preference import _reference_identity
from finetune.train.run import _translate_errors


def test_another_model_at_the_same_path_and_another_device_have_values_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"12345678")
    config = build({"model": str(tmp_path), "stage": "dpo", "method": "lora"})
    first = _reference_identity(config)
    assert _reference_identity(config) == first
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert _reference_identity(config) != first
    monkeypatch.undo()
    (tmp_path / "config.json").write_text('{"rope_theta": 1}')
    second = _reference_identity(config)
    (tmp_path / "model.safetensors").write_bytes(b"123456789")
    assert len({first, second, _reference_identity(config)}) == 3


def test_a_newer_commit_of_a_base_on_the_hub_has_values_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted fault: the name alone, under which the hub may have another model tomorrow."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--me--base"
    (repository / "refs").mkdir(parents=True)
    config = build({"model": "me/base", "stage": "dpo", "method": "lora", "device": "cpu"})
    found = []
    for commit in ("a" * 40, "b" * 40, "a" * 40):
        (repository / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
        (repository / "snapshots" / commit / "config.json").write_text("{}")
        (repository / "refs" / "main").write_text(commit)
        found.append(_reference_identity(config))
    assert found[0] == found[2] != found[1]


def test_too_little_gpu_memory_is_reported_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="out of GPU memory") as caught, _translate_errors(tmp_path):
        raise torch.OutOfMemoryError("CUDA out of memory")
    assert "plan" in caught.value.hint

"""The trained model's side of the parity check."""

from pathlib import Path

import pytest

from finetune.errors import ParityFailed
from finetune.export.lora import LoraPair
from finetune.export.merge import merge
from finetune.export.reference import checked_reference, merge_divergence
from tests.finetune.export_home import Tuned


def test_the_merged_model_is_compared_with_base_and_adapter_on_either_base(tuned: Tuned, tmp_path: Path) -> None:
    assert merge_divergence(tuned.run, tuned.reference, full_precision=False) < 1e-6
    merge(tuned.run, tmp_path / "original", base="full-precision", dtype="float32", measure=False)
    ref = checked_reference(tuned.run, tmp_path / "original", base_folder="", progress=lambda line: None)
    assert merge_divergence(tuned.run, ref, full_precision=True) < 1e-6
    assert merge_divergence(tuned.run, ref, full_precision=False) > 1e-4


def test_an_adapter_merged_with_a_wrong_scale_is_refused_as_merge(
    tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LoraPair, "delta", lambda pair: 1.2 * pair.scale * (pair.b.read() @ pair.a.read()))
    merge(tuned.run, tmp_path / "scaled", base="dequantized", dtype="float32", measure=False)
    with pytest.raises(ParityFailed, match="merge: KL is") as failed:
        checked_reference(tuned.run, tmp_path / "scaled", base_folder="", progress=lambda line: None)
    assert failed.value.steps == ("merge",)

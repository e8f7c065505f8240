"""What a merge costs on held-out text, and the base that it chooses."""

import json
from pathlib import Path

import pytest

from finetune.export.held_out import HeldOut, measure_trained
from finetune.export.merge import MERGE_FILE, merge
from finetune.export.streamed import open_streamed
from finetune.runs.manifest import read_manifest
from tests.finetune.export_home import Tuned


def test_the_dequantized_base_is_closer_to_the_trained_model(tuned: Tuned) -> None:
    found = measure_trained(tuned.run, read_manifest(tuned.run))
    assert found is not None
    found.add("merged", open_streamed(tuned.merged))
    cost = found.cost
    assert cost["merged"]["kl"] < 1e-5 < cost["original"]["kl"]
    assert abs(cost["merged"]["nll"] - cost["trained"]["nll"]) < 1e-3


@pytest.mark.parametrize("better", ["original", "dequantised"])
def test_a_merge_takes_the_base_with_the_lower_held_out_loss_and_says_so(
    better: str, tuned_models: dict[str, Tuned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = tuned_models["qwen2"]
    monkeypatch.setenv("QUIRE_HOME", str(tuned.home))
    add = HeldOut.add

    def shifted(found: HeldOut, name: str, model: object) -> None:
        """Measure, then move the loss on the full-precision base below or above that of the trained model."""
        add(found, name, model)
        found.cost["original"]["nll"] = found.cost["trained"]["nll"] + (-0.25 if better == "original" else 0.25)

    monkeypatch.setattr(HeldOut, "add", shifted)
    said: list[str] = []
    report = merge(tuned.run, tmp_path / "m", measure=False, progress=said.append)
    assert json.loads((tmp_path / "m" / MERGE_FILE).read_text())["onto"] == better
    named = {"original": "full-precision", "dequantised": "dequantized"}[better]
    assert any(line == f"merging into the {named} base: {report.choice}" for line in said)
    assert "6 held-out rows" in report.choice and set(report.held_out) == {"trained", "original"}
    forced = merge(tuned.run, tmp_path / "forced", base="full-precision", measure=False, progress=said.append)
    assert (forced.base, forced.choice, forced.held_out) == ("full-precision", "", {})


def test_a_run_whose_rows_are_gone_is_merged_into_the_base_of_its_training(
    tuned_models: dict[str, Tuned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    tuned = tuned_models["qwen2"]
    monkeypatch.setenv("QUIRE_HOME", str(tuned.home))
    shutil.copytree(tuned.run, tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    manifest["config"]["data"] = [str(tmp_path / "gone.json")]
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    report = merge(tmp_path / "run", tmp_path / "m")
    assert report.base == "dequantized" and "can no longer be read" in report.choice and report.held_out == {}

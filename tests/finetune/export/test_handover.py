"""An export passes every step, and one that fails or is interrupted changes nothing."""

import json
import shutil
from pathlib import Path

import pytest

from finetune.errors import AlreadyExists, ParityFailed, WrongBase
from finetune.export import parity
from finetune.export.gguf import write_gguf
from finetune.export.handover import check_gguf, to_gguf
from finetune.export.merge import merge
from quire import UsageError
from tests.finetune.export_home import Tuned


@pytest.fixture
def qwen2(tuned_models: dict[str, Tuned], monkeypatch: pytest.MonkeyPatch) -> Tuned:
    """One tuned model, its home being the home folder."""
    monkeypatch.setenv("QUIRE_HOME", str(tuned_models["qwen2"].home))
    return tuned_models["qwen2"]


def left_over(tuned: Tuned) -> list[str]:
    """Name what a command left in the home folder."""
    return [p.name for p in tuned.home.glob("scratch-*")]


def test_a_file_gets_its_name_after_the_parity_check(tuned: Tuned, tmp_path: Path) -> None:
    made = to_gguf(tuned.run, tmp_path / "m.gguf", kind="Q8_0")
    assert made.parity.passed and made.parity.kind == "Q8_0"
    assert [p.name for p in tmp_path.iterdir()] == ["m.gguf"] and left_over(tuned) == []


def test_a_merge_without_the_adapter_fails_at_merge(qwen2: Tuned, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt"
    shutil.copytree(qwen2.merged, spoilt)
    shutil.copyfile(qwen2.base / "model.safetensors", spoilt / "model.safetensors")  # as if no adapter had been added
    with pytest.raises(ParityFailed, match="merge: KL is") as failed:
        to_gguf(qwen2.run, tmp_path / "m.gguf", merged=spoilt)
    assert failed.value.steps == ("merge",)
    assert not list(tmp_path.glob("m.gguf*"))


def test_a_merged_folder_of_another_run_is_refused(
    tuned_models: dict[str, Tuned], qwen2: Tuned, tmp_path: Path
) -> None:
    other = tuned_models["phi"].merged
    with pytest.raises(WrongBase, match="from the run 'phi-tuned', not from 'qwen2-tuned'"):
        to_gguf(qwen2.run, tmp_path / "m.gguf", merged=other)
    with pytest.raises(WrongBase, match="was not written by `quire finetune merge`"):
        to_gguf(qwen2.run, tmp_path / "m.gguf", merged=qwen2.base)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_an_interrupted_parity_check_leaves_no_file_and_the_second_try_succeeds(
    qwen2: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    def interrupted(*_: object) -> None:
        raise stop

    with monkeypatch.context() as patch:
        patch.setattr(parity, "check_weights", interrupted)
        with pytest.raises(stop):
            to_gguf(qwen2.run, tmp_path / "m.gguf", merged=qwen2.merged)
    assert list(tmp_path.iterdir()) == [] and left_over(qwen2) == []
    assert to_gguf(qwen2.run, tmp_path / "m.gguf", merged=qwen2.merged).parity.passed


def test_an_overridden_limit_is_warned_of_and_stands_in_the_figures(qwen2: Tuned, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(ParityFailed, match=r"the limits of F16 are 0 and 0\.004") as failed:
        to_gguf(qwen2.run, tmp_path / "m.gguf", merged=qwen2.merged, limits={"F16.mean_kl": 0.0}, progress=said.append)
    assert failed.value.steps == ("weights",) and "--limit" in failed.value.hint
    assert "warning: the limit F16.mean_kl is 0 instead of 0.0002" in said
    made = to_gguf(qwen2.run, tmp_path / "m.gguf", merged=qwen2.merged, limits={"F16.mean_kl": 0.5})
    assert made.parity.to_dict()["limits"] == {"F16.mean_kl": 0.5}


def test_an_unproven_file_of_a_killed_command_is_replaced(qwen2: Tuned, tmp_path: Path) -> None:
    (tmp_path / "m.gguf.unproven").write_bytes(b"half")
    to_gguf(qwen2.run, tmp_path / "m.gguf", merged=qwen2.merged)
    assert [p.name for p in tmp_path.iterdir()] == ["m.gguf"]


def test_a_merge_that_fails_leaves_no_folder(qwen2: Tuned, tmp_path: Path) -> None:
    with pytest.raises(WrongBase, match="cannot be downloaded"):
        to_gguf(qwen2.run, tmp_path / "m.gguf", base_folder=str(tmp_path / "gone"))
    assert left_over(qwen2) == []


def test_an_existing_file_is_refused_before_anything_is_merged(qwen2: Tuned, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"mine")
    said: list[str] = []
    with pytest.raises(AlreadyExists):
        to_gguf(qwen2.run, tmp_path / "m.gguf", progress=said.append)
    assert said == [] and (tmp_path / "m.gguf").read_bytes() == b"mine"


def test_a_context_that_is_too_small_is_refused_before_anything_is_merged(qwen2: Tuned, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(UsageError, match="is too small"):
        to_gguf(qwen2.run, tmp_path / "m.gguf", num_ctx=0, progress=said.append)
    assert said == []


def test_every_step_uses_the_new_folder_of_a_base_that_moved(qwen2: Tuned, tmp_path: Path) -> None:
    run = tmp_path / "qwen2-tuned"
    shutil.copytree(qwen2.run, run)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["base"] = manifest["config"]["model"] = str(tmp_path / "gone")
    (run / "manifest.json").write_text(json.dumps(manifest))
    report = merge(run, tmp_path / "merged", base="dequantized", base_folder=str(qwen2.base))
    assert report.held_out["merged"]["kl"] < 1e-6 < report.held_out["original"]["kl"]
    assert to_gguf(run, tmp_path / "m.gguf", base_folder=str(qwen2.base)).parity.passed


def test_an_existing_file_passes_the_parity_check_of_its_own_run_only(
    tuned_models: dict[str, Tuned], qwen2: Tuned, tmp_path: Path
) -> None:
    path = write_gguf(qwen2.merged, tmp_path / "m.gguf", template=qwen2.template, kind="Q8_0")
    assert check_gguf(qwen2.run, path).parity.kind == "Q8_0"
    with pytest.raises(ParityFailed, match="architecture is 'qwen2', the model's is 'phi2'"):
        check_gguf(tuned_models["phi"].run, path)

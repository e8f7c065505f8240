"""PEFT adapters of other tools: made into runs where they can be merged exactly, refused with the reason where not."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from finetune.cli import main
from finetune.errors import RunError, UnsupportedModel, WrongBase
from finetune.export.foreign import import_adapter
from finetune.export.merge import merge
from finetune.runs.manifest import read_manifest
from tests.finetune.export_home import Tuned


@pytest.fixture
def foreign(tuned_models: dict[str, Tuned], tmp_path: Path, home: Path) -> Path:
    """The files that PEFT writes of an adapter."""
    tuned, folder = tuned_models["qwen2"], tmp_path / "theirs ä"
    folder.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copyfile(tuned.run / "adapter" / name, folder / name)
    change(folder, base_model_name_or_path=str(tuned.base))
    return folder


def change(folder: Path, **values: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_an_imported_adapter_is_merged_like_the_run_it_came_from(
    foreign: Path, tuned_models: dict[str, Tuned], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(foreign), "--method", "qlora", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["run"] == "theirs-a-imported"
    assert read_manifest(made["run"]).template == "chatml"
    merge(made["run"], tmp_path / "merged", base="dequantized", dtype="float32", measure=False)
    ours = load_file(tuned_models["qwen2"].merged / "model.safetensors")
    theirs = load_file(tmp_path / "merged" / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)


@pytest.mark.parametrize("option", ["use_dora", "lora_bias", "rank_pattern", "modules_to_save"])
def test_an_adapter_that_cannot_be_merged_exactly_is_refused_and_leaves_no_run(
    foreign: Path, home: Path, option: str
) -> None:
    change(foreign, **{option: {"q_proj": 8}})
    with pytest.raises(UnsupportedModel, match=f"{option} is set"):
        import_adapter(foreign)
    assert not list(home.glob("runs/*"))


def test_a_bias_among_the_matrices_is_refused(foreign: Path) -> None:
    path = foreign / "adapter_model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if ".lora_B." in name)
    save_file({**weights, name.replace(".weight", ".bias"): weights[name][:, 0].copy()}, path)
    with pytest.raises(UnsupportedModel, match=r"lora_B\.bias, which is not a LoRA matrix"):
        import_adapter(foreign)


def test_another_base_and_another_folder_are_refused(
    foreign: Path, tuned_models: dict[str, Tuned], tmp_path: Path
) -> None:
    with pytest.raises(WrongBase, match="--base"):
        import_adapter(foreign, base=str(tuned_models["phi"].base))
    with pytest.raises(RunError, match="contains a model"):
        import_adapter(tuned_models["qwen2"].base)
    with pytest.raises(RunError, match=r"a PEFT adapter, not a run .*quire finetune import"):
        read_manifest(foreign)

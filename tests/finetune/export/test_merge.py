"""An adapter merged into its base, one matrix at a time."""

import shutil
from pathlib import Path

import pytest
import torch

from finetune.errors import AlreadyExists, UnfinishedRun, WrongBase
from finetune.export.lora import read_adapter
from finetune.export.merge import merge
from finetune.safetensors_io import list_tensors
from tests.finetune.export_home import Tuned
from tests.finetune.hub_stand_in import Hub


def test_a_merge_into_the_dequantized_base_equals_the_librarys(tuned_any: Tuned) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    four = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    whole = AutoModelForCausalLM.from_pretrained(
        tuned_any.base, quantization_config=four, dtype=torch.float32
    ).dequantize()
    wanted = PeftModel.from_pretrained(whole, tuned_any.run / "adapter").merge_and_unload().state_dict()
    found = list_tensors(tuned_any.merged)
    untied = tuned_any.kind not in ("qwen2", "llama-3")
    assert set(found) == set(wanted) - {"lm_head.weight"} | ({"lm_head.weight"} if untied else set())
    for name, tensor in found.items():
        assert torch.allclose(torch.from_numpy(tensor.read()), wanted[name].float(), atol=2e-6), name


def test_a_merge_into_the_full_precision_base_equals_the_librarys(tuned_any: Tuned, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    merge(tuned_any.run, tmp_path / "m", base="full-precision", measure=False)
    whole = AutoModelForCausalLM.from_pretrained(tuned_any.base, dtype=torch.float32)
    wanted = PeftModel.from_pretrained(whole, tuned_any.run / "adapter").merge_and_unload().state_dict()
    for name, tensor in list_tensors(tmp_path / "m").items():
        assert torch.allclose(torch.from_numpy(tensor.read()), wanted[name].float(), atol=2e-6), name


def test_several_shards_load_as_one_model(tuned: Tuned, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    report = merge(tuned.run, tmp_path / "m", base="dequantized", measure=False, shard_bytes=1_000_000)
    assert len(list((tmp_path / "m").glob("*.safetensors"))) > 3
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    once = AutoModelForCausalLM.from_pretrained(tuned.merged)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), once.parameters(), strict=True))
    assert report.merged == len(read_adapter(tuned.run / "adapter"))


def test_an_existing_folder_is_refused(tuned: Tuned) -> None:
    with pytest.raises(AlreadyExists, match="choose another --out"):
        merge(tuned.run, tuned.merged)


def test_an_unfinished_run_is_refused(tuned: Tuned, tmp_path: Path) -> None:
    shutil.copytree(tuned.run, tmp_path / "run")
    (tmp_path / "run" / "manifest.json").unlink()
    with pytest.raises(UnfinishedRun, match="--resume"):
        merge(tmp_path / "run", tmp_path / "m")


def test_a_base_of_another_shape_is_refused_by_name_and_leaves_nothing(
    tuned: Tuned, tmp_path: Path, models: dict[str, str]
) -> None:
    other = models["phi" if tuned.kind == "qwen2" else "qwen2"]
    with pytest.raises(WrongBase, match="--base"):
        merge(tuned.run, tmp_path / "m", base_folder=other)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # how the hub's library sends a large file
def test_a_base_on_the_hub_is_downloaded_and_merged(tuned: Tuned, tmp_path: Path, hub: Hub) -> None:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub.url, token=hub.token)
    api.create_repo("me/base")
    api.upload_folder(repo_id="me/base", folder_path=str(tuned.base))
    merge(tuned.run, tmp_path / "m", base="dequantized", base_folder="me/base", measure=False)
    merge(tuned.run, tmp_path / "local", base="dequantized", measure=False)
    found, wanted = list_tensors(tmp_path / "m"), list_tensors(tmp_path / "local")
    assert all((found[name].read() == tensor.read()).all() for name, tensor in wanted.items())

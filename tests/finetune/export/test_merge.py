"""Folding an adapter into its base, piece by piece."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from finetune.errors import AlreadyExists, UnfinishedRun, UnsupportedModel, WrongBase
from finetune.export.merge import merge, read_adapter
from finetune.export.safetensors_io import tensors_of
from tests.finetune.export_home import Tuned
from tests.finetune.hub_stand_in import Hub


def test_it_equals_the_library_merge_on_the_dequantised_base(tuned: Tuned) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    four = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    whole = AutoModelForCausalLM.from_pretrained(tuned.base, quantization_config=four, dtype=torch.float32).dequantize()
    wanted = PeftModel.from_pretrained(whole, tuned.run / "adapter").merge_and_unload().state_dict()
    found = tensors_of(tuned.merged)
    assert set(found) == set(wanted) - {"lm_head.weight"} | ({"lm_head.weight"} if tuned.kind == "phi" else set())
    for name, tensor in found.items():
        assert torch.allclose(torch.from_numpy(tensor.read()), wanted[name].float(), atol=2e-6), name


def test_onto_the_original_base_it_equals_the_library_merge(tuned: Tuned, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    merge(tuned.run, tmp_path / "m", onto="original", measure=False)
    whole = AutoModelForCausalLM.from_pretrained(tuned.base, dtype=torch.float32)
    wanted = PeftModel.from_pretrained(whole, tuned.run / "adapter").merge_and_unload().state_dict()
    for name, tensor in tensors_of(tmp_path / "m").items():
        assert torch.allclose(torch.from_numpy(tensor.read()), wanted[name].float(), atol=2e-6), name


def test_several_shards_load_as_one_model(tuned: Tuned, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    report = merge(tuned.run, tmp_path / "m", measure=False, shard_bytes=1_000_000)
    assert len(list((tmp_path / "m").glob("*.safetensors"))) > 3
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    once = AutoModelForCausalLM.from_pretrained(tuned.merged)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), once.parameters(), strict=True))
    assert report.merged == len(read_adapter(tuned.run / "adapter"))


def test_a_folder_that_is_there_is_refused(tuned: Tuned) -> None:
    with pytest.raises(AlreadyExists, match="give another --out"):
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
        merge(tuned.run, tmp_path / "m", base=other)
    assert list(tmp_path.iterdir()) == []


def test_a_base_that_the_hub_lacks_is_named_with_what_the_hub_said(tuned: Tuned, tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(WrongBase, match=r"'nowhere/nothing' is no folder.* 404, Repository not found") as caught:
        merge(tuned.run, tmp_path / "m", base="nowhere/nothing")
    assert "--base" in caught.value.hint


def test_a_base_folder_that_is_gone_is_named(tuned: Tuned, tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(WrongBase, match="gone' is no folder"):
        merge(tuned.run, tmp_path / "m", base=str(tmp_path / "gone"))
    assert not hub.seen


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # how the hub's library sends a large file
def test_a_base_on_the_hub_is_fetched_and_merged_onto(tuned: Tuned, tmp_path: Path, hub: Hub) -> None:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub.url, token=hub.token)
    api.create_repo("me/base")
    api.upload_folder(repo_id="me/base", folder_path=str(tuned.base))
    merge(tuned.run, tmp_path / "m", base="me/base", measure=False)
    merge(tuned.run, tmp_path / "local", measure=False)
    found, wanted = tensors_of(tmp_path / "m"), tensors_of(tmp_path / "local")
    assert all((found[name].read() == tensor.read()).all() for name, tensor in wanted.items())


def test_the_dequantised_base_is_nearer_to_what_was_trained(tuned: Tuned) -> None:
    from finetune.export.merge import held_out_cost
    from finetune.runs.manifest import read_manifest

    cost = held_out_cost(tuned.run, read_manifest(tuned.run), tuned.merged)
    assert cost["merged"]["kl"] < 1e-5 < cost["original"]["kl"]
    assert abs(cost["merged"]["nll"] - cost["trained"]["nll"]) < 1e-3


def test_an_adapter_that_is_no_plain_lora_is_refused(tuned: Tuned, tmp_path: Path) -> None:
    shutil.copytree(tuned.run / "adapter", tmp_path / "a")
    path = tmp_path / "a" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "use_dora": True}))
    with pytest.raises(UnsupportedModel, match="use_dora is set"):
        read_adapter(tmp_path / "a")


def test_an_adapter_whose_settings_cannot_be_read_is_named(tuned: Tuned, tmp_path: Path) -> None:
    for text in ("{", "[]", '{"r": 8}'):
        (tmp_path / "adapter_config.json").write_text(text)
        with pytest.raises(UnsupportedModel, match=r"adapter_config\.json cannot be read"):
            read_adapter(tmp_path)

"""The stages as Python functions: settings override recipes, and a parent decides the model."""

from pathlib import Path
from typing import Any

import pytest

from finetune.runs.manifest import RunManifest, write_manifest
from finetune.train.load import template_of
from finetune.train.stages import stage_config
from quire import UsageError


def test_settings_override_the_recipe() -> None:
    config = stage_config("sft", {"rank": 8, "name": "x"}, recipe="phi-2-sft")
    assert (config.rank, config.name, config.model, config.stage) == (8, "x", "microsoft/phi-2", "sft")


def test_a_recipe_of_another_stage_is_refused() -> None:
    with pytest.raises(UsageError, match="quire finetune dpo"):
        stage_config("sft", {}, recipe="phi-2-dpo")


def test_another_model_than_the_recipes_gets_its_own_template(models: dict[str, str]) -> None:
    """Planted fault: the instruct template on a base model, whose <|im_end|> is untrained."""
    recipe = "qwen2.5-1.5b-sft"
    assert template_of(stage_config("sft", {}, recipe=recipe), None).name == "chatml"
    assert template_of(stage_config("sft", {"model": "Qwen/Qwen2.5-1.5B"}, recipe=recipe), None).name == "chatml-base"
    assert template_of(stage_config("sft", {"model": models["phi"]}, recipe=recipe), None).name == "phi-2"


def test_held_out_rows_that_are_given_replace_those_of_the_recipe(tmp_path: Path) -> None:
    given = stage_config("sft", {"eval_data": ["held.jsonl"]}, recipe="qwen2.5-1.5b-sft")
    assert (given.eval_data, given.eval_share) == (("held.jsonl",), 0.0)
    (tmp_path / "mine.toml").write_text('eval_data = ["held.jsonl"]\n')
    shared = stage_config("sft", {"eval_share": 0.1}, recipe=str(tmp_path / "mine.toml"))
    assert (shared.eval_data, shared.eval_share) == ((), 0.1)


def test_a_parent_replaces_the_model_and_template_of_the_recipe() -> None:
    config = stage_config("dpo", {"parent": "x"}, recipe="phi-2-dpo")
    assert (config.model, config.template, config.beta) == ("", "", 0.1)


def test_every_loss_and_method_works_with_every_recipe_and_has_its_own_defaults() -> None:
    config = stage_config("dpo", {"loss": "simpo", "precompute_reference": False}, recipe="qwen2.5-1.5b-dpo")
    assert (config.beta, config.simpo_gamma) == (2.0, 1.0)
    full = stage_config("sft", {"method": "full"}, recipe="qwen2.5-1.5b-sft")
    assert (full.learning_rate, full.targets) == (2e-5, ("all-linear",))


def test_the_rate_of_dpo_suits_the_method_of_its_parent(home: Path) -> None:
    facts: dict[str, Any] = {"base": "m", "template": "chatml", "command": [], "config": {}, "data": {}, "versions": {}}
    for method, rate in (("full", 5e-7), ("lora", 5e-6)):
        (home / "runs" / method).mkdir(parents=True)
        write_manifest(home / "runs" / method, RunManifest(stage="sft", method=method, **facts))
        assert stage_config("dpo", {"parent": method}, recipe="phi-2-dpo").learning_rate == rate

"""Recipes are valid settings of their stage, and TOML is read back unchanged."""

import math
import tomllib
from pathlib import Path

import pytest

from finetune.config import build
from finetune.recipes import read_recipe, recipe_names, to_toml
from finetune.train.architectures import shape_of
from finetune.train.arguments import training_arguments
from finetune.train.load import template_of
from quire import UsageError


def test_settings_written_as_toml_are_read_back_unchanged() -> None:
    config = build({"name": "a", "prompts": ['say "hi"\n\\'], "learning_rate": 3e-7, "targets": ["q_proj", "v_proj"]})
    assert build(tomllib.loads(to_toml(config.to_dict()))) == config


def test_all_fourteen_recipes_are_valid_and_of_their_stage() -> None:
    names = recipe_names()
    sizes = [f"qwen2.5-{size}" for size in ("0.5b", "1.5b", "3b", "7b")]
    both = [f"{model}-{stage}" for model in ("phi-2", *sizes) for stage in ("sft", "dpo")]
    assert names == sorted([*both, *(f"{size}-base-sft" for size in sizes)])
    for name in names:
        config = build(read_recipe(name))
        assert name.endswith(config.stage)
        expected = "phi-2" if "phi" in name else "chatml-base" if "base" in name else "chatml"
        assert (config.template, template_of(config, None).name) == ("", expected)
        assert shape_of(config.model).parameters > 0
        assert 16 <= config.batch_size * config.accumulation <= 32


def test_an_unknown_recipe_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="phi-2-dpo"):
        read_recipe("phi-3")
    (tmp_path / "bad.toml").write_text("rank = = 3")
    with pytest.raises(UsageError, match="is not valid TOML"):
        read_recipe(str(tmp_path / "bad.toml"))


@pytest.mark.parametrize("name", recipe_names())
@pytest.mark.parametrize("rows", [950, 95], ids=["rows", "rows packed ten to a sequence"])
def test_a_thousand_rows_have_checkpoints_to_choose_from_and_can_stop_early(
    name: str, rows: int, tmp_path: Path
) -> None:
    """Planted fault: a checkpoint at the end only, or fewer evaluations than `patience` needs."""
    config = build(read_recipe(name))
    assert config.eval_share * 1000 == 50
    arguments = training_arguments(config, tmp_path, evaluates=True)
    assert arguments["eval_strategy"] == arguments["save_strategy"] == "steps"
    steps = math.ceil(math.ceil(rows / (config.batch_size * config.accumulation)) * config.epochs)
    assert arguments["eval_steps"] == arguments["save_steps"] < 1
    every = math.ceil(steps * arguments["eval_steps"])  # as transformers rounds a share
    evaluations = math.ceil(steps / every)  # the last step is always one
    assert every <= steps / 3
    assert evaluations >= 5 and evaluations > config.patience + 1
    assert (config.patience > 0) == (config.stage == "sft")

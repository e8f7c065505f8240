"""Recipes are valid settings of their stage, and TOML is read back unchanged."""

import tomllib
from pathlib import Path

import pytest

from finetune.config import build
from finetune.recipes import read_recipe, recipe_names, to_toml
from quire import UsageError


def test_settings_written_as_toml_are_read_back_unchanged() -> None:
    config = build({"name": "a", "prompts": ['say "hi"\n\\'], "learning_rate": 3e-7, "targets": ["q_proj", "v_proj"]})
    assert build(tomllib.loads(to_toml(config.to_dict()))) == config


def test_all_ten_recipes_are_valid_and_of_their_stage() -> None:
    names = recipe_names()
    models = ("phi-2", "qwen2.5-0.5b", "qwen2.5-1.5b", "qwen2.5-3b", "qwen2.5-7b")
    assert names == sorted(f"{model}-{stage}" for model in models for stage in ("sft", "dpo"))
    for name in names:
        config = build(read_recipe(name))
        assert name.endswith(config.stage)
        assert config.template == ("phi-2" if "phi" in name else "chatml")
        assert 16 <= config.batch_size * config.accumulation <= 32


def test_an_unknown_recipe_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="phi-2-dpo"):
        read_recipe("phi-3")
    (tmp_path / "bad.toml").write_text("rank = = 3")
    with pytest.raises(UsageError, match="is not valid TOML"):
        read_recipe(str(tmp_path / "bad.toml"))

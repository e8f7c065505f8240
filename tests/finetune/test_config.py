"""Settings: every mistake is in one error, recipes are valid, and TOML is read back unchanged."""

import pytest

from finetune.config import TrainConfig, build
from finetune.errors import SettingsError
from finetune.loss_names import LOSSES


def test_all_mistakes_are_in_one_error() -> None:
    with pytest.raises(SettingsError, match="did you mean 'learning_rate'") as caught:
        build(
            {
                "lerning_rate": 1e-4,
                "rank": "many",
                "stage": "dpo",
                "packing": True,
                "loss": "cdpo",
                "label_smoothing": 0.0,
                "beta": -1,
                "schedule": "cosin",
            }
        )
    problems = "\n".join(caught.value.problems)
    for part in ("lerning_rate", "rank", "packing is for sft", "cdpo needs label_smoothing", "beta", "'cosine'"):
        assert part in problems
    assert len(caught.value.problems) == 6


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"stage": "sft", "parent": "x"}, "parent is for dpo"),
        ({"stage": "sft", "loss": "ipo"}, "loss is for dpo"),
        ({"targets": ["lm_head"]}, "lm_head cannot be a target"),
        ({"targets": ["embed_tokens"]}, "embeddings cannot be a target"),
        ({"targets": ["all-linear", "q_proj"]}, "all-linear already includes"),
        ({"method": "full", "targets": ["q_proj"]}, "targets are for lora"),
        ({"data": ["a", "b"], "weights": ["1"]}, "one number above 0 for each"),
        ({"data": ["a"], "weights": ["x"]}, "one number above 0 for each"),
        ({"patience": 2}, "patience needs held-out rows"),
        ({"eval_every": 2}, "eval_every needs held-out rows"),
        ({"eval_data": ["a"], "eval_share": 0.1}, "both define held-out rows"),
        ({"eval_data": ["a"], "eval_every": 4, "save_every": 6}, "must be a multiple"),
        ({"eval_data": ["a"], "eval_every": 0.1, "save_every": 0.2}, "a share equal to it"),
        ({"eval_data": ["a"], "eval_every": 0.5, "save_every": 2}, "a share equal to it"),
        ({"eval_data": ["a"], "eval_every": 2.5}, "whole numbers of steps"),
        ({"device": "cpu", "dtype": "fp16"}, "fp16 needs a GPU"),
        ({"dtype": "fp32"}, "computes in bf16 or fp16 on a GPU"),
        ({"stage": "dpo", "loss": "sft"}, "loss sft alone"),
        ({"stage": "dpo", "loss": "orpo+sigmoid"}, "only losses of pairs with a reference"),
        ({"stage": "dpo", "loss": "orpo", "precompute_reference": True}, "--no-precompute-reference"),
        ({"stage": "dpo", "loss": "kto", "batch_size": 1}, "batch_size must be at least 2"),
        ({"stage": "dpo", "loss": "exo_pair", "label_smoothing": 0.0}, "exo_pair needs label_smoothing"),
        ({"stage": "dpo", "label_smoothing": 0.1}, "label_smoothing has no effect"),
        ({"stage": "dpo", "loss": "robust", "label_smoothing": 0.5}, "below 0.5"),
        ({"stage": "dpo", "dropout": 0.1}, "dropout must be 0 in dpo"),
        ({"stage": "dpo", "neftune_alpha": 5.0}, "neftune_alpha is for sft"),
        ({"packing": True, "group_by_length": True}, "group_by_length has no effect with packing"),
        ({"stage": "dpo", "loss": "kto", "group_by_length": True}, "group_by_length cannot be used with kto"),
        ({"name": "../x"}, "it names a folder"),
    ],
)
def test_conflicting_settings_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        build(settings)


def test_later_layers_override_and_none_changes_nothing() -> None:
    config = build({"rank": 8, "alpha": 16}, {"rank": 32, "alpha": None})
    assert (config.rank, config.alpha) == (32, 16.0)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        TrainConfig().rank = 3  # type: ignore[misc]


def test_weights_are_numbers_in_a_recipe_and_text_in_a_flag() -> None:
    data = {"data": ["a", "b"]}
    assert build(data, {"weights": [3, 1.5]}).weights == ("3", "1.5") == build(data, {"weights": ["3", "1.5"]}).weights


def test_every_loss_has_a_kind() -> None:
    smoothed = {"cdpo": 0.1, "exo_pair": 0.01}
    kinds = {
        name: build({"stage": "dpo", "loss": name, "label_smoothing": smoothed.get(name, 0.0)}).kind
        for name in LOSSES
        if name != "sft"
    }
    assert kinds["kto"] == "unpaired" and kinds["simpo"] == "reference-free" and kinds["ipo"] == "paired"
    assert set(kinds.values()) == {"paired", "reference-free", "unpaired"}

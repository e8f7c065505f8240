"""Settings that nobody sets suit the stage, the method and the loss; settings that somebody sets stay."""

from typing import Any

import pytest

from finetune.config import build
from finetune.defaults import describe_default

RATES = [
    ({"stage": "sft"}, 2e-4),
    ({"stage": "sft", "method": "full"}, 2e-5),
    ({"stage": "dpo"}, 5e-6),
    ({"stage": "dpo", "method": "full"}, 5e-7),
    ({"stage": "dpo", "loss": "kto"}, 5e-6),
    ({"stage": "dpo", "loss": "orpo"}, 8e-5),
    ({"stage": "dpo", "loss": "orpo", "method": "full"}, 8e-6),
    ({"stage": "dpo", "loss": "cpo", "method": "lora"}, 1e-5),
    ({"stage": "dpo", "loss": "sigmoid+0.2*sft"}, 5e-6),
]


@pytest.mark.parametrize(("settings", "rate"), RATES, ids=str)
def test_the_learning_rate_suits_the_stage_the_method_and_the_loss(settings: dict[str, Any], rate: float) -> None:
    assert build(settings).learning_rate == rate
    assert build(settings, {"learning_rate": 3e-3}).learning_rate == 3e-3


def test_simpo_asks_for_half_a_nat_a_token_and_not_for_five() -> None:
    config = build({"stage": "dpo", "loss": "simpo"})
    assert (config.beta, config.simpo_gamma) == (2.0, 1.0)
    assert config.simpo_gamma / config.beta == 0.5
    kept = build({"stage": "dpo", "beta": 0.3}, {"loss": "simpo"})
    assert (kept.beta, kept.simpo_gamma) == (0.3, 1.0)
    assert build({"stage": "dpo", "loss": "ipo"}).beta == 0.1


@pytest.mark.parametrize(("loss", "smoothing"), [("cdpo", 0.1), ("robust", 0.1), ("exo_pair", 0.001), ("sigmoid", 0.0)])
def test_a_loss_that_reads_label_smoothing_has_some(loss: str, smoothing: float) -> None:
    assert build({"stage": "dpo", "loss": loss}).label_smoothing == smoothing


def test_a_sum_takes_the_rate_of_its_first_loss_and_the_settings_of_all() -> None:
    config = build({"stage": "dpo", "loss": "sigmoid+0.5*cdpo"})
    assert (config.learning_rate, config.label_smoothing) == (5e-6, 0.1)


def test_help_names_every_default() -> None:
    text = describe_default("learning_rate")
    for part in ("sft 0.0002, with method full 2e-05", "dpo 5e-06, with method full 5e-07", "orpo 8e-05", "cpo 1e-05"):
        assert part in text
    assert describe_default("beta") == "simpo 2"
    assert describe_default("label_smoothing") == "cdpo 0.1, robust 0.1, exo_pair 0.001"
    assert describe_default("rank") == ""


@pytest.mark.parametrize(
    ("settings", "grouped"),
    [({"stage": "dpo"}, True), ({"stage": "dpo", "loss": "simpo"}, True), ({"stage": "dpo", "loss": "kto"}, False),
     ({"stage": "sft"}, False), ({"stage": "dpo", "group_by_length": False}, False)],
    ids=str,
)  # fmt: skip
def test_pairs_are_grouped_by_length(settings: dict[str, Any], grouped: bool) -> None:
    assert build(settings).group_by_length is grouped

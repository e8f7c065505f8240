"""Variations are read from texts; each combination has its own settings, whatever the order of the values."""

from itertools import permutations
from typing import Any

import pytest

from finetune.config import TrainConfig
from finetune.train.sweep import combinations, parse_variations
from quire import UsageError

SETTINGS: dict[str, Any] = {"model": "m", "data": ["pairs.jsonl"], "eval_share": 0.1}


def by_loss(settings: dict[str, Any], *losses: str) -> dict[str, TrainConfig]:
    configs = combinations("dpo", settings, {"loss": list(losses)}, name="s")
    return {config.loss: config for config in configs}


@pytest.mark.parametrize("item", ["beta", "colour=red", "beta="])
def test_a_variation_that_is_not_valid_is_refused(item: str) -> None:
    with pytest.raises(UsageError, match="SETTING=A,B"):
        parse_variations([item])


def test_no_run_depends_on_the_order_of_the_values() -> None:
    """Planted fault: after a loss without a reference, no later run precomputed it."""
    orders = [by_loss(SETTINGS, *losses) for losses in permutations(("orpo", "sigmoid", "simpo"))]
    assert all(found == orders[0] for found in orders)
    assert [orders[0][loss].precompute_reference for loss in ("orpo", "sigmoid", "simpo")] == [False, True, False]
    kept = by_loss({**SETTINGS, "precompute_reference": False}, "orpo", "sigmoid")
    assert not kept["sigmoid"].precompute_reference
    assert not by_loss({**SETTINGS, "precompute_reference": True}, "orpo", "sigmoid")["orpo"].precompute_reference


def test_each_loss_has_its_own_defaults() -> None:
    found = by_loss(SETTINGS, "sigmoid", "simpo", "orpo")
    assert [found[loss].beta for loss in ("sigmoid", "simpo", "orpo")] == [0.1, 2.0, 0.1]
    assert [found[loss].learning_rate for loss in ("sigmoid", "simpo", "orpo")] == [5e-6, 5e-6, 8e-5]
    fixed = by_loss({**SETTINGS, "beta": 0.3}, "sigmoid", "simpo")
    assert [config.beta for config in fixed.values()] == [0.3, 0.3]


def test_label_smoothing_goes_to_the_losses_that_read_it() -> None:
    found = by_loss({**SETTINGS, "label_smoothing": 0.2}, "cdpo", "sigmoid", "robust")
    assert {loss: config.label_smoothing for loss, config in found.items()} == {
        "cdpo": 0.2,
        "sigmoid": 0.0,
        "robust": 0.2,
    }


def test_a_combination_that_is_not_valid_is_named_before_anything_runs() -> None:
    variations: dict[str, list[Any]] = {"loss": ["cdpo", "sigmoid"], "label_smoothing": [0.1, 0.2]}
    with pytest.raises(
        UsageError, match=r"(?s)loss = sigmoid, label_smoothing = 0.1: label_smoothing has no effect"
    ) as caught:
        combinations("dpo", SETTINGS, variations, name="s")
    assert "loss = cdpo" not in str(caught.value)


@pytest.mark.parametrize("name", ["method", "rank"])
@pytest.mark.parametrize("settings", [{**SETTINGS, "parent": "p"}, SETTINGS], ids=["parent", "parents"])
def test_what_a_parent_decides_cannot_be_varied(name: str, settings: dict[str, Any]) -> None:
    variations: dict[str, list[Any]] = {name: [1, 2]}
    if "parent" not in settings:
        variations["parent"] = ["a", "b"]
    with pytest.raises(UsageError, match=f"{name} cannot be varied with a parent"):
        combinations("dpo", settings, variations, name="s")


def test_a_method_that_is_varied_without_a_parent_trains_with_its_own_rate() -> None:
    configs = combinations("sft", SETTINGS, {"method": ["qlora", "full"]}, name="s")
    assert [(config.method, config.learning_rate) for config in configs] == [("qlora", 2e-4), ("full", 2e-5)]

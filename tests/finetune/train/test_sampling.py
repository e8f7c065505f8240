"""Sampling controls are checked, and what the model's own settings say never applies."""

import pytest

from finetune.train.sampling import CONTROLS, GREEDY, Sampling
from quire import UsageError


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("temperature", -0.1, "from 0 to 2"),
        ("temperature", float("nan"), "from 0 to 2"),
        ("top_p", 0.0, "from 0.01 to 1"),
        ("top_k", -1, "from 0 to 1000"),
        ("min_p", 1.5, "from 0 to 1"),
        ("repetition_penalty", 0.9, "from 1 to 2"),
        ("seed", -2, "from -1 to 2147483647"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(name: str, value: float, fix: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is {value}.*{fix}"):
        Sampling(**{name: value})  # type: ignore[arg-type]


def test_every_control_is_a_field_and_its_default_is_in_range() -> None:
    for name, control in CONTROLS.items():
        assert control.minimum <= getattr(GREEDY, name) <= control.maximum


def test_limits_without_a_temperature_are_reported_as_ineffective() -> None:
    assert Sampling(top_p=0.9, top_k=5, seed=3).ineffective == ["top_p", "top_k"]
    assert Sampling(temperature=0.7, top_p=0.9).ineffective == [] == GREEDY.ineffective


def test_greedy_options_unset_what_the_model_may_have_in_its_settings() -> None:
    options = GREEDY.options()
    assert options["do_sample"] is False and options["repetition_penalty"] == 1.0
    assert [options[name] for name in ("temperature", "top_p", "top_k", "min_p")] == [None] * 4

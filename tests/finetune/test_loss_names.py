"""Losses are named, weighted and added as the settings write them."""

import pytest

from finetune.loss_names import parse_loss
from quire import UsageError


def test_a_loss_may_be_a_sum() -> None:
    assert parse_loss("sigmoid + 0.2*sft") == {"sigmoid": 1.0, "sft": 0.2}
    with pytest.raises(UsageError, match="did you mean 'sigmoid'"):
        parse_loss("sigmod")

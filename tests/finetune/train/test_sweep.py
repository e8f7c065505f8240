"""The variations of a sweep are read from texts."""

import pytest

from finetune.train.sweep import parse_variations
from quire import UsageError


@pytest.mark.parametrize("item", ["beta", "colour=red", "beta="])
def test_a_variation_that_is_not_valid_is_refused(item: str) -> None:
    with pytest.raises(UsageError, match="SETTING=A,B"):
        parse_variations([item])

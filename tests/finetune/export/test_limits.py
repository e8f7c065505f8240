"""Limits of the parity check are overridden one by one, with a warning that says what it means."""

import pytest

from finetune.export.limits import LIMITS, describe_overrides, limits_of, parse_limits
from quire import UsageError


def test_an_override_replaces_one_limit_of_one_type() -> None:
    overrides = parse_limits(["f16.mean_kl=0.01", "Q4_K_M.top1=0.5"])
    assert overrides == {"F16.mean_kl": 0.01, "Q4_K_M.top1": 0.5}
    assert limits_of("F16", overrides).mean_kl == 0.01
    assert limits_of("F16", overrides).max_kl == LIMITS["F16"].max_kl
    assert limits_of("F32", overrides) == LIMITS["F32"]


@pytest.mark.parametrize(
    "text", ["F16.mean_kl", "mean_kl=1", "F16.kl=1", "F15.mean_kl=1", "F16.top1=-1", "F16.top1=nan"]
)
def test_an_override_that_is_not_valid_is_refused_with_the_names(text: str) -> None:
    with pytest.raises(UsageError, match="is not valid") as caught:
        parse_limits([text])
    assert "F16.mean_kl=0.001" in caught.value.hint and "top1" in caught.value.hint


def test_a_warning_says_whether_worse_files_pass() -> None:
    looser, stricter, share = describe_overrides({"F16.mean_kl": 0.01, "F16.max_kl": 0.001, "F16.top1": 0.5})
    assert looser == "the limit F16.mean_kl is 0.01 instead of 0.0002: a worse file passes the parity check"
    assert stricter == "the limit F16.max_kl is 0.001 instead of 0.004"
    assert share.endswith("a worse file passes the parity check")

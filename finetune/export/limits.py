"""How far an exported model may diverge from the trained one, by type; limits can be overridden."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

from quire import UsageError

Overrides = Mapping[str, float]  # by TYPE.NAME, such as F16.mean_kl
NO_OVERRIDES: Overrides = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a stored type may diverge from the trained model; measured, see docs/export.md."""

    mean_kl: float  # nats, mean over positions, of trained against exported
    max_kl: float  # nats, at any one position
    margin: float  # nats; where the trained model's first choice leads by more, the exported model must agree
    top1: float  # share of positions with the same first choice
    ended: float  # share of answers that end themselves, of those that do so in the trained model


# F32, F16 and BF16 are exact copies of the weights, so their limits only allow for llama.cpp's own arithmetic (16-bit
# keys and values). All are about four times the largest value measured: F16 on real Qwen2.5, the others on tiny models.
LIMITS = {
    "F32": Limits(2e-4, 4e-3, 0.05, 0.97, 1.0),
    "F16": Limits(2e-4, 4e-3, 0.05, 0.97, 1.0),
    "BF16": Limits(1e-3, 1e-2, 0.15, 0.95, 1.0),
    "Q8_0": Limits(5e-3, 5e-2, 0.5, 0.93, 0.99),
    "Q4_K_M": Limits(0.25, 8.0, 6.0, 0.75, 0.75),
}
LIMITS["Q4_K_S"] = LIMITS["Q4_K_M"]
# Kinds and architectures whose limits were checked on real weights. Other limits are provisional: those of quantized kinds
# because the real weights at hand were rounded before, those of other architectures because only tiny models were.
CHECKED = {("F32", "qwen2"), ("F16", "qwen2")}
_NAMES = tuple(field.name for field in fields(Limits))


def limits_of(kind: str, overrides: Overrides) -> Limits:
    """Return the limits of a stored type, with those that replace ours."""
    return replace(
        LIMITS[kind], **{name: overrides[f"{kind}.{name}"] for name in _NAMES if f"{kind}.{name}" in overrides}
    )


def parse_limits(texts: Sequence[str]) -> dict[str, float]:
    """Return the overrides in texts like F16.mean_kl=0.001; raises UsageError for one that is not valid."""
    found: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        kind, _, limit = name.partition(".")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if kind.upper() not in LIMITS or limit not in _NAMES or not 0 <= number < math.inf:
            raise UsageError(
                f"--limit {text!r} is not valid",
                f"write TYPE.NAME=VALUE, such as F16.mean_kl=0.001; types: {', '.join(LIMITS)}; names: {', '.join(_NAMES)}",
            )
        found[f"{kind.upper()}.{limit}"] = number
    return found


def describe_overrides(overrides: Overrides) -> list[str]:
    """Return a warning for each limit that replaces ours."""
    found = []
    for name, value in overrides.items():
        kind, _, limit = name.partition(".")
        usual = getattr(LIMITS[kind], limit)
        looser = value > usual if limit in ("mean_kl", "max_kl", "margin") else value < usual
        effect = ": a worse file passes the parity check" if looser else ""
        found.append(f"the limit {name} is {value:g} instead of {usual:g}{effect}")
    return found

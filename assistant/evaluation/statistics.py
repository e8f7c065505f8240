"""Means and paired differences with their bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_SAMPLES = 2000
_SEED = 20  # the same values give the same interval in every run


@dataclass(frozen=True)
class Score:
    """A mean with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | int]:
        """Return the score rounded to four decimals."""
        return {"mean": round(self.mean, 4), "low": round(self.low, 4), "high": round(self.high, 4), "n": self.n}


def mean(values: Sequence[float | bool]) -> Score | None:
    """Return the mean with its bootstrap interval, None for no values."""
    if not values:
        return None
    data = np.asarray(values, dtype=np.float64)
    picks = np.random.default_rng(_SEED).integers(0, len(data), size=(_SAMPLES, len(data)))
    low, high = np.quantile(data[picks].mean(axis=1), [0.025, 0.975])
    return Score(float(data.mean()), float(low), float(high), len(data))


def paired_difference(first: Sequence[float | bool], second: Sequence[float | bool]) -> Score | None:
    """Return the mean of second minus first, pair by pair, with its bootstrap interval."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values against {len(second)}")
    return mean([float(b) - float(a) for a, b in zip(first, second, strict=True)])

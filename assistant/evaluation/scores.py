"""Scores of answers: numbers with their units, means with their intervals, paired differences; it asks nobody."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SCALES = {
    "thousand": 1e3,
    "k": 1e3,
    "million": 1e6,
    "millions": 1e6,
    "mn": 1e6,
    "mm": 1e6,
    "m": 1e6,
    "billion": 1e9,
    "billions": 1e9,
    "bn": 1e9,
    "b": 1e9,
    "trillion": 1e12,
}
_AMOUNT = re.compile(
    r"(?P<open>\()?(?P<sign>[-−–])?\s?(?P<currency>[$€£]|USD\s?)?\s?(?P<sign2>[-−])?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"(?P<close>\))?\s?(?P<unit>%|percent\b|percentage points\b|bps\b|[a-z]+\b)?",
    re.I,
)
_SAMPLES = 2000
_SEED = 20  # intervals of one file are the same in every run


@dataclass(frozen=True)
class Amount:
    """One number of a text: its value in its unit, with the scale that was written behind it."""

    value: float
    percent: bool
    scale: float  # 1e6 for "million", 1 where none was written
    in_brackets: bool = False  # "(1,577)", as accountants write what is taken away


@dataclass(frozen=True)
class Score:
    """A mean with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | int]:
        """Return the score rounded to what its interval allows to read."""
        return {"mean": round(self.mean, 4), "low": round(self.low, 4), "high": round(self.high, 4), "n": self.n}


def amounts(text: str) -> list[Amount]:
    """Return the numbers of a text in order; numbers of citations like [3] are left out."""
    found = []
    for match in _AMOUNT.finditer(re.sub(r"\[\d+\]", " ", text)):
        value = float(match["digits"].replace(",", ""))
        in_brackets = bool(match["open"] and match["close"])
        if match["sign"] or match["sign2"] or in_brackets:
            value = -value
        unit = (match["unit"] or "").lower()
        if unit == "bps":
            value, unit = value / 100, "%"
        percent = unit.startswith("%") or unit.startswith("percent")
        found.append(Amount(value, percent, _SCALES.get(unit, 1.0), in_brackets))
    return found


def numeric_match(expected: str, answer: str, *, tolerance: float = 0.01) -> bool | None:
    """Say whether an answer states the expected number; None where the expected answer is no number.

    "$1,577 million", "1577.00" and "$1.577 billion" match, as do "8.7%" and "0.087"; a year is no answer to an amount.
    """
    wanted = _expected(expected)
    if wanted is None:
        return None
    return any(_equal(wanted, stated, tolerance) for stated in amounts(answer))


def _expected(text: str) -> Amount | None:
    found = amounts(text)
    if not found or (len(text) > 60 and not re.match(r"\W*\d", text)):
        return None
    words = len(re.findall(r"[A-Za-z]{3,}", text))
    return found[0] if words <= 3 else None  # more words: the number is part of a statement, which a judge must read


def _equal(wanted: Amount, stated: Amount, tolerance: float) -> bool:
    pairs = [(wanted.value, stated.value)]
    if wanted.percent != stated.percent:
        pairs += [(wanted.value / 100, stated.value)] if wanted.percent else [(wanted.value, stated.value / 100)]
    if wanted.scale != 1 or stated.scale != 1:
        left, right = wanted.value * wanted.scale, stated.value * stated.scale
        # a question that says "in USD millions" leaves the scale out of the answer
        pairs += [
            (left, right),
            *((left * scale, right) for scale in (1e3, 1e6, 1e9)),
            (left, right * 1e6),
            (left, right * 1e9),
        ]
    if wanted.in_brackets or stated.in_brackets:  # an outflow of cash is a positive expenditure
        pairs = [(abs(left), abs(right)) for left, right in pairs]
    return any(abs(left - right) <= tolerance * max(abs(left), 1e-9) for left, right in pairs)


def mean(values: Sequence[float | bool]) -> Score | None:
    """Return the mean with its bootstrap interval, None for no values."""
    if not values:
        return None
    data = np.asarray(values, dtype=np.float64)
    means = _resampled(data)
    low, high = np.quantile(means, [0.025, 0.975])
    return Score(float(data.mean()), float(low), float(high), len(data))


def paired_difference(first: Sequence[float | bool], second: Sequence[float | bool]) -> Score | None:
    """Return the mean of second minus first, question by question, with its bootstrap interval."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values against {len(second)}")
    return mean([float(b) - float(a) for a, b in zip(first, second, strict=True)])


def _resampled(data: NDArray[np.float64]) -> NDArray[np.float64]:
    picks = np.random.default_rng(_SEED).integers(0, len(data), size=(_SAMPLES, len(data)))
    means: NDArray[np.float64] = data[picks].mean(axis=1)
    return means

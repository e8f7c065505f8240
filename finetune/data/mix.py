"""A mixture of several data sets by weight, and the share that each one has in it."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetune.data.records import Record
from quire import UsageError


@dataclass(frozen=True, slots=True)
class Share:
    """The share of one data set in a mixture, requested (`asked`) and actual (`realised`), as fractions.

    `rows` of the `available` rows are used; `repeats` is `rows` divided by `available`.
    """

    name: str
    asked: float
    realised: float
    rows: int
    available: int
    repeats: float

    def to_dict(self) -> dict[str, Any]:
        """Return the share as plain values."""
        return {name: getattr(self, name) for name in self.__slots__}

    def sentence(self) -> str:
        """Return the share as one line of text."""
        used = f"{self.rows:,} of its {self.available:,} rows"
        return f"{self.name}: {self.realised:.1%} of the mixture ({used}; {self.asked:.1%} requested)"


@dataclass(frozen=True, slots=True)
class Mixture:
    """Mixed records in random order, and the share of each data set."""

    records: list[Record]
    shares: list[Share]


def mix(parts: Mapping[str, Sequence[Record]], weights: Mapping[str, float], *, seed: int = 0) -> Mixture:
    """Sample from each part in proportion to its weight; the same seed returns the same mixture.

    The mixture is as large as the weights allow without using a record twice.
    """
    if unknown := sorted(set(weights) ^ set(parts)):
        raise UsageError(f"each name needs both a weight and a data set; one of them is missing for {unknown}")
    if not parts or any(weight <= 0 for weight in weights.values()) or any(not part for part in parts.values()):
        raise UsageError("a mixture needs data sets with rows, and weights above 0")
    whole = sum(weights.values())
    asked = {name: weights[name] / whole for name in parts}
    total = int(min(len(parts[name]) / asked[name] for name in parts))
    counts = _apportion(asked, total)
    mixed: list[Record] = []
    taken: dict[str, int] = {}
    for name, part in parts.items():
        # each part has its own generator: a new weight for one does not change the sample of the others
        generator = random.Random(f"{seed}:{name}")  # noqa: S311
        sample = generator.sample(list(part), min(len(part), counts[name]))
        taken[name] = len(sample)
        mixed += sample
    random.Random(seed).shuffle(mixed)  # noqa: S311
    shares = [
        Share(n, asked[n], taken[n] / len(mixed) if mixed else 0.0, taken[n], len(p), taken[n] / len(p))
        for n, p in parts.items()
    ]
    return Mixture(mixed, shares)


def _apportion(asked: Mapping[str, float], total: int) -> dict[str, int]:
    """Round to whole rows that sum to `total`, the largest remainders first."""
    counts = {name: int(share * total + 1e-9) for name, share in asked.items()}
    by_remainder = sorted(asked, key=lambda name: counts[name] - asked[name] * total)
    for name in by_remainder[: max(0, total - sum(counts.values()))]:
        counts[name] += 1
    return counts

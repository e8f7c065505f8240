"""Several data sets into one by weight, with the shares that really came about."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetune.data.records import Record
from quire import UsageError


@dataclass(frozen=True, slots=True)
class Share:
    """What one data set gave to a mixture: `asked` and `realised` are fractions, `repeats` counts whole passes."""

    name: str
    asked: float
    realised: float
    rows: int
    available: int
    repeats: float

    def to_dict(self) -> dict[str, Any]:
        """Give the share as plain values."""
        return {name: getattr(self, name) for name in self.__slots__}

    def sentence(self) -> str:
        """Say the share in a line."""
        drawn = f"{self.rows:,} of its {self.available:,} rows"
        return f"{self.name}: {self.realised:.1%} of the mixture ({drawn}; {self.asked:.1%} asked)"


@dataclass(frozen=True, slots=True)
class Mixture:
    """The mixed records in shuffled order, and the share of each data set."""

    records: list[Record]
    shares: list[Share]


def mix(
    parts: Mapping[str, Sequence[Record]],
    weights: Mapping[str, float],
    *,
    rows: int | None = None,
    repeat: bool = False,
    seed: int = 0,
) -> Mixture:
    """Draw from each part in proportion to its weight.

    `rows` None takes as many as the weights allow without using a row twice. A larger number needs `repeat`, else the
    parts that run out give all they have and the realised shares say so. Same seed, same mixture.
    """
    if unknown := sorted(set(weights) ^ set(parts)):
        raise UsageError(f"a weight and a data set are needed for each name, found only one of them for {unknown}")
    if not parts or any(weight <= 0 for weight in weights.values()) or any(not part for part in parts.values()):
        raise UsageError("a mixture needs data sets with rows, and weights above 0")
    whole = sum(weights.values())
    asked = {name: weights[name] / whole for name in parts}
    total = rows if rows is not None else int(min(len(parts[name]) / asked[name] for name in parts))
    counts = _apportion(asked, total)
    drawn: list[Record] = []
    taken: dict[str, int] = {}
    for name, part in parts.items():
        # each part has its own generator: changing one weight leaves the draws of the others alone
        chosen = _draw(part, counts[name], random.Random(f"{seed}:{name}"), repeat)  # noqa: S311
        taken[name] = len(chosen)
        drawn += chosen
    random.Random(seed).shuffle(drawn)  # noqa: S311
    shares = [
        Share(n, asked[n], taken[n] / len(drawn) if drawn else 0.0, taken[n], len(p), taken[n] / len(p))
        for n, p in parts.items()
    ]
    return Mixture(drawn, shares)


def _apportion(asked: Mapping[str, float], total: int) -> dict[str, int]:
    """Round to whole rows that sum to `total`, the largest remainders first."""
    counts = {name: int(share * total + 1e-9) for name, share in asked.items()}
    by_remainder = sorted(asked, key=lambda name: counts[name] - asked[name] * total)
    for name in by_remainder[: max(0, total - sum(counts.values()))]:
        counts[name] += 1
    return counts


def _draw(part: Sequence[Record], count: int, generator: random.Random, repeat: bool) -> list[Record]:
    chosen: list[Record] = []
    while len(chosen) < count:
        chosen += generator.sample(list(part), min(len(part), count - len(chosen)))
        if not repeat:
            break
    return chosen

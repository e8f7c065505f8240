"""Means and paired differences with 95 % intervals that count documents, not only questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np

from assistant.evaluation.share_interval import share_interval

_SAMPLES = 2000
_SEED = 20  # the same values give the same interval in every run
_BLOCK_NUMBERS = 1_000_000  # 8 MB: samples are drawn in blocks, so that memory does not grow with the documents
_NORMAL = NormalDist()
_UPPER = 0.975
_MIN_RESAMPLED = 8  # resamples of fewer documents stay between the smallest and the largest of them

_Floats: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"


@dataclass(frozen=True)
class Score:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int
    documents: int  # groups of values that depend on each other; n if each value stands alone
    method: str  # of shares "wilson" or, with several questions a document, "beta-binomial"; else "bootstrap" or "t"

    def as_dict(self) -> dict[str, float | int | str]:
        """Return the score rounded to four decimals."""
        rounded = {name: round(getattr(self, name), 4) for name in ("mean", "low", "high")}
        return {**rounded, "n": self.n, "documents": self.documents, "method": self.method}


def mean(values: Sequence[float | bool], documents: Sequence[str] | None = None, *, share: bool = True) -> Score | None:
    """Return the mean with its interval, None for no values.

    `documents` names the document of each value; a value without one ("") stands alone, as all do by default.
    Questions of one document share its difficulty, so the documents are what was sampled. Booleans, 0 and 1 get
    Wilson's interval if each stands alone, else the beta-binomial one of `share_interval`. Others get the percentile
    bootstrap over documents, widened by Student's t for few documents, or that t itself for fewer than 8 documents.
    `share` is false for counts, which are not a share even where all of them are 0 or 1.
    """
    if not values:
        return None
    data = np.asarray(values, dtype=np.float64)
    sums, counts = _by_document(data, documents)
    if share and np.isin(data, (0.0, 1.0)).all():
        low, high, method = _of_share(sums, counts)
    else:
        low, high, method = _of_values(sums, counts)
        if data.min() >= 0 and data.max() <= 1:  # reciprocal ranks, recall and the like
            low, high = max(low, 0.0), min(high, 1.0)
    return Score(float(data.mean()), low, high, len(data), len(counts), method)


def paired_difference(
    first: Sequence[float | bool], second: Sequence[float | bool], documents: Sequence[str] | None = None
) -> Score | None:
    """Return the mean of second minus first, pair by pair, with its interval over documents."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values against {len(second)}")
    if not first:
        return None
    data = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    sums, counts = _by_document(data, documents)
    low, high, method = _of_values(sums, counts)
    return Score(float(data.mean()), low, high, len(data), len(counts), method)


def _by_document(data: _Floats, documents: Sequence[str] | None) -> tuple[_Floats, _Floats]:
    """Return the sum and the number of the values of each document; one document alone says nothing about others."""
    if documents is not None and len(documents) != len(data):
        raise ValueError(f"{len(data)} values of {len(documents)} documents")
    names: list[str | int] = [name or index for index, name in enumerate(documents or [""] * len(data))]
    if len(set(names)) == 1:
        names = list(range(len(data)))
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    index = [places[name] for name in names]
    return np.bincount(index, weights=data).astype(np.float64), np.bincount(index).astype(np.float64)


def _of_share(sums: _Floats, counts: _Floats) -> tuple[float, float, str]:
    """Return the interval of a share, and its method."""
    if len(counts) == counts.sum():
        return *_wilson(float(sums.mean()), len(counts)), "wilson"
    return *share_interval(sums, counts), "beta-binomial"


def _wilson(share: float, total: int) -> tuple[float, float]:
    """Return Wilson's interval of a share of independent questions."""
    square = _NORMAL.inv_cdf(_UPPER) ** 2
    middle = share + square / (2 * total)
    half = math.sqrt(square * (share * (1 - share) / total + square / (4 * total**2)))
    below = 1 + square / total
    return max(0.0, (middle - half) / below), min(1.0, (middle + half) / below)


def _of_values(sums: _Floats, counts: _Floats) -> tuple[float, float, str]:
    """Return the interval of values that are not all 0 or 1, and its method."""
    groups = len(counts)
    if not 1 < groups < _MIN_RESAMPLED:
        return *_bootstrap(sums, counts), "bootstrap"
    middle = float(sums.sum() / counts.sum())
    variance = groups / (groups - 1) * float(((sums - middle * counts) ** 2).sum()) / float(counts.sum()) ** 2
    half = _student(groups - 1) * math.sqrt(variance)
    return middle - half, middle + half, "t"


def _bootstrap(sums: _Floats, counts: _Floats) -> tuple[float, float]:
    """Return the percentile interval of resampled documents, at quantiles that allow for few of them."""
    groups = len(counts)
    if groups == 1:
        return float(sums[0] / counts[0]), float(sums[0] / counts[0])
    random = np.random.default_rng(_SEED)
    block = max(1, _BLOCK_NUMBERS // groups)
    means = []
    for start in range(0, _SAMPLES, block):
        picks = random.integers(0, groups, size=(min(block, _SAMPLES - start), groups))
        means.append(sums[picks].sum(axis=1) / counts[picks].sum(axis=1))
    tail = _NORMAL.cdf(-math.sqrt(groups / (groups - 1)) * _student(groups - 1))
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def _student(freedom: int) -> float:
    """Return the upper 97.5 % quantile of Student's t: exact for 1 and 2 degrees of freedom, else to 0.02."""
    if freedom == 1:
        return math.tan(math.pi * (_UPPER - 0.5))
    if freedom == 2:
        return (2 * _UPPER - 1) / math.sqrt(2 * _UPPER * (1 - _UPPER))
    z = _NORMAL.inv_cdf(_UPPER)  # Abramowitz and Stegun 26.7.5
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum((term / float(freedom**power) for power, term in enumerate(terms, 1)), 0.0)

"""The 95 % interval of a share whose questions depend on each other within their document."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

_Floats: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"

_SHARES = 128  # cells of the grid over the share
_CORRELATIONS = ((np.arange(24) + 0.5) / 24) ** 2  # their square roots are equally likely beforehand
_PASSES = 3  # each looks closer at the part of the grid that has the probability: 1 / 128^3 is fine enough
_NEGLIGIBLE = 1e-5  # probability of all cells on one side that a pass may leave out


def share_interval(hits: _Floats, counts: _Floats) -> tuple[float, float]:
    """Return the interval that holds the share with 95 % probability, given hits and questions of each document.

    The chance of a hit differs between documents as a beta distribution, whose spread is the correlation of two
    questions of one document. Both share and correlation are unknown and weighed over a grid: with few misses, the
    correlation cannot be seen, so one estimate of it would make the interval too narrow.
    """
    share = float(hits.sum() / counts.sum())
    low, high = 0.0, 1.0
    for _ in range(_PASSES):
        edges = np.linspace(low, high, _SHARES + 1)
        below = np.concatenate([[0.0], np.cumsum(_weights((edges[1:] + edges[:-1]) / 2, hits, counts))])
        first = max(0, int(np.searchsorted(below, _NEGLIGIBLE)) - 2)
        last = min(_SHARES, int(np.searchsorted(below, 1 - _NEGLIGIBLE)) + 2)
        low, high = float(edges[first]), float(edges[last])
    found = np.interp([0.025, 0.975], below, edges)
    # without any hit or miss, the bound on that side is the share itself, as in Wilson's interval
    return (
        0.0 if share == 0 else min(share, float(found[0])),
        1.0 if share == 1 else max(share, float(found[1])),
    )


def _weights(shares: _Floats, hits: _Floats, counts: _Floats) -> _Floats:
    """Return the probability of each share, summed over the correlations."""
    # the mean counts questions and not documents, so a document with many of them weighs as many; 1 for equal counts
    effects = 1 + (counts[:, None] - 1) * _CORRELATIONS
    questions = effects * counts.sum() / (counts @ effects)
    by_document = _log_likelihood(shares, hits, counts, np.ones_like(questions))
    by_question = by_document
    if np.ptp(counts):
        by_question = _log_likelihood(shares, hits, counts, questions)
    # the correlation is judged by documents, the share at each correlation by questions
    logs = by_question - by_question.max(axis=0) + by_document.max(axis=0)
    weights = np.exp(logs - logs.max()).sum(axis=1)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _log_likelihood(shares: _Floats, hits: _Floats, counts: _Floats, weights: _Floats) -> _Floats:
    """Return the log likelihood [shares, correlations] of the beta-binomial, each document times its weight there."""
    spread = 1 / _CORRELATIONS - 1
    right, wrong = shares[:, None] * spread, (1 - shares[:, None]) * spread
    total = np.zeros_like(right)
    for place in range(int(counts.max())):
        total += (hits > place) @ weights * np.log(right + place)
        total += (counts - hits > place) @ weights * np.log(wrong + place)
        total -= (counts > place) @ weights * np.log(spread + place)
    return total

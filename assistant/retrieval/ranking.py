"""Orders the pages that a search found, by a linear model of their features.

Its weights are in ranking_weights.json with how they were fitted (`python -m benchmarks.ranking`). A feature may have
a weight that always counts and one that is added in doubt (`features.doubt`). docs/retrieval.md has the figures.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assistant.retrieval.features import FEATURES, PageEvidence, page_features

WEIGHTS_FILE = Path(__file__).with_name("ranking_weights.json")


def score_pages(question: str, pages: Sequence[PageEvidence]) -> list[float]:
    """Return one score for each page, higher is better; scores of different questions are not comparable."""
    features, doubt = page_features(question, pages)
    always, in_doubt = _weights()
    scores: list[float] = (features @ (always + doubt * in_doubt)).tolist()
    return scores


@cache
def _weights() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    stored = json.loads(WEIGHTS_FILE.read_text(encoding="utf-8"))
    always, in_doubt = (np.array([stored[kind].get(name, 0.0) for name in FEATURES]) for kind in ("always", "in_doubt"))
    return always, in_doubt

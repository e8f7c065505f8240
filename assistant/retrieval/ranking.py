"""Orders the pages that a search found, by a linear model of their features.

Its weights are in ranking_weights.json with how they were fitted (`python -m benchmarks.ranking`). A feature may have
a weight that always counts and one that is added in doubt (`features.doubt`). docs/retrieval.md has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from assistant.retrieval.features import FEATURES, PageEvidence, page_features
from assistant.retrieval.weights import stored_weights


def score_pages(question: str, pages: Sequence[PageEvidence]) -> list[float]:
    """Return one score for each page, higher is better; scores of different questions are not comparable."""
    features, doubt = page_features(question, pages)
    always, in_doubt = _weights()
    scores: list[float] = (features @ (always + doubt * in_doubt)).tolist()
    return scores


def _weights() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    stored = stored_weights()
    always, in_doubt = (np.array([stored[kind].get(name, 0.0) for name in FEATURES]) for kind in ("always", "in_doubt"))
    return always, in_doubt

"""How often the 95 % intervals of `quire eval` hold the true value, for questions that agree within their document."""

from __future__ import annotations

import numpy as np

from assistant.evaluation.share_interval import share_interval
from assistant.evaluation.statistics import mean
from benchmarks.table import show

_SETS = ((27, 3), (12, 17))  # documents, questions of each
_SHARES = (0.5, 0.65, 0.8, 0.9)
_CORRELATIONS = (0.1, 0.2, 0.3)  # of two questions of one document
_SAMPLES = 1500


def main(argv: list[str]) -> None:
    """Print the coverage for both sets, every share and correlation, and for values with a normal distribution."""
    rows = []
    for documents, questions in _SETS:
        for correlation in _CORRELATIONS:
            shares = {
                f"share {share}": share_coverage(documents, questions, share, correlation=correlation, samples=_SAMPLES)
                for share in _SHARES
            }
            values = value_coverage(documents, questions, correlation=correlation, samples=_SAMPLES)
            size = {"documents": documents, "questions each": questions, "correlation": correlation}
            rows.append({**size, **shares, "values": values})
    show("coverage", f"Coverage of the 95 % intervals in {_SAMPLES} simulations", rows)


def share_coverage(documents: int, questions: int, share: float, *, correlation: float, samples: int) -> float:
    """Return how often the interval of a share holds it, if the chances of documents have a beta distribution."""
    random = np.random.default_rng(7)
    counts = np.full(documents, float(questions))
    spread = 1 / correlation - 1
    held = 0
    for _ in range(samples):
        chances = random.beta(share * spread, (1 - share) * spread, size=documents)
        low, high = share_interval(random.binomial(questions, chances).astype(np.float64), counts)
        held += low <= share <= high
    return held / samples


def value_coverage(documents: int, questions: int, *, correlation: float, samples: int) -> float:
    """Return how often the interval of a mean holds it, if documents and questions have normal distributions."""
    random = np.random.default_rng(8)
    names = [str(document) for document in range(documents) for _ in range(questions)]
    spread = (correlation / (1 - correlation)) ** 0.5
    held = 0
    for _ in range(samples):
        values = random.normal(scale=spread, size=(documents, 1)) + random.normal(size=(documents, questions))
        score = mean(values.ravel().tolist(), names)
        held += score is not None and score.low <= 0 <= score.high
    return held / samples


if __name__ == "__main__":
    main([])

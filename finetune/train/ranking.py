"""The rank of a sweep's runs, by held-out figures that beta does not scale.

A margin is measured as rewards are: beta times log-ratio, and DPO's loss depends on beta again. Neither compares runs of
different beta. Divided by beta, the margin is in nats: how much more the chosen answer's probability rose over the
reference than the rejected one's. It still grows with the learning rate and the number of steps, since a model that moves
further from its reference has a larger margin. So runs are compared at the same distance: each run's evaluations are points
of a curve of its margin over the square root of its KL to the reference, from (0, 0) on; near the reference the KL grows
with the square of a change, so that such a curve is nearly straight. The margin is read from each curve, with linear
interpolation, at the largest KL that all runs reached. It tells which run gained most for the same change of the model.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

Point = tuple[float, float]  # KL to the reference in nats per token, and margin in nats


def curve(lines: Sequence[Mapping[str, Any]], *, beta: float) -> list[Point]:
    """Return the points of a run's evaluations, from lines of its metrics; empty for a loss without a reference."""
    found = []
    for line in lines:
        margin, kl = line.get("eval_rewards/margins"), line.get("eval_kl")
        if margin is not None and kl is not None:
            found.append((max(0.0, float(kl)), float(margin) / beta))
    return found


def common_kl(curves: Sequence[Sequence[Point]]) -> float | None:
    """Return the largest KL that every run reached; None when a run has no KL, or has not moved."""
    reached = [max((kl for kl, _ in points), default=0.0) for points in curves]
    return min(reached) if reached and min(reached) > 0 else None


def margin_at(points: Sequence[Point], kl: float) -> float:
    """Return a run's margin in nats at a KL that it reached."""
    distances = [(0.0, 0.0), *sorted((math.sqrt(k), margin) for k, margin in points)]
    wanted = math.sqrt(kl)
    for (d0, m0), (d1, m1) in pairwise(distances):
        if d0 <= wanted <= d1 and d1 > 0:
            return m1 if d1 == d0 else m0 + (m1 - m0) * (wanted - d0) / (d1 - d0)
    return distances[-1][1]


def rank(rows: list[dict[str, Any]], curves: Mapping[str, Sequence[Point]], *, stage: str) -> float | None:
    """Sort the rows of a sweep, best first, number them, and return the KL at which their margins were compared.

    Preference runs: by accuracy, then by the margin at the same KL (or, where a run has no KL, by the margin in nats), then
    by held-out loss. SFT runs: by held-out loss. `curves` has the points of each run by its name.
    """
    kl = common_kl([curves.get(row["run"], ()) for row in rows]) if stage == "dpo" else None
    for row in rows:
        row["margin_at_kl"] = None if kl is None else margin_at(curves[row["run"]], kl)
    margin = "margin_nats" if kl is None else "margin_at_kl"

    def key(row: Mapping[str, Any]) -> tuple[float, ...]:
        loss = math.inf if row["eval_loss"] is None else row["eval_loss"]
        return (loss,) if stage == "sft" else (-(row["accuracy"] or 0.0), -(row[margin] or 0.0), loss)

    rows.sort(key=key)
    by_sft = sorted({row["sft_eval_loss"] for row in rows if row.get("sft_eval_loss") is not None})
    for place, row in enumerate(rows, start=1):
        row["rank"] = place
        if row.get("sft_eval_loss") is not None:
            row["sft_rank"] = by_sft.index(row["sft_eval_loss"]) + 1
    return kl

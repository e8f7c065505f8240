"""Runs of a sweep are ranked by figures that beta does not scale."""

from typing import Any

import pytest

from finetune.train.ranking import common_kl, curve, margin_at, rank


def evaluation(kl: float, margin: float) -> dict[str, Any]:
    return {"eval_loss": 0.5, "eval_kl": kl, "eval_rewards/margins": margin}


def row(run: str, *, accuracy: float, loss: float = 0.5, margin: float = 1.0) -> dict[str, Any]:
    return {"run": run, "accuracy": accuracy, "eval_loss": loss, "margin_nats": margin}


def test_a_margin_is_divided_by_beta() -> None:
    lines = [evaluation(0.01, 0.2), {"eval_loss": 0.4}, evaluation(-1e-9, 0.0)]
    assert curve(lines, beta=0.1) == [(0.01, 2.0), (0.0, 0.0)]
    assert curve(lines, beta=0.5) == [(0.01, 0.4), (0.0, 0.0)]


def test_a_margin_is_read_at_a_distance_and_lines_are_straight_in_the_root_of_the_kl() -> None:
    points = [(0.04, 4.0), (0.01, 1.0)]
    assert margin_at(points, 0.01) == 1.0
    assert margin_at(points, 0.0225) == pytest.approx(2.5)  # root 0.15: half way between 0.1 and 0.2
    assert margin_at(points, 0.0025) == pytest.approx(0.5)  # half way to (0, 0)


def test_runs_are_compared_where_all_have_been() -> None:
    assert common_kl([[(0.01, 1.0), (0.04, 3.0)], [(0.09, 5.0)]]) == 0.04
    assert common_kl([[(0.01, 1.0)], []]) is None
    assert common_kl([[(0.01, 1.0)], [(0.0, 0.0)]]) is None


def test_the_rank_does_not_depend_on_beta_when_two_runs_move_alike() -> None:
    """Planted fault: the margin as logged, which is beta times log-ratio, puts the larger beta first."""
    moves = [(0.01, 1.0), (0.04, 2.0)]
    better = [(0.01, 1.5), (0.04, 3.0)]
    logged = {
        "low": [evaluation(kl, 0.05 * margin) for kl, margin in better],
        "high": [evaluation(kl, 0.5 * margin) for kl, margin in moves],
    }
    curves = {"low": curve(logged["low"], beta=0.05), "high": curve(logged["high"], beta=0.5)}
    rows = [row("high", accuracy=0.9), row("low", accuracy=0.9)]
    assert rank(rows, curves, stage="dpo") == 0.04
    assert [(one["run"], one["rank"], round(one["margin_at_kl"], 9)) for one in rows] == [
        ("low", 1, 3.0),
        ("high", 2, 2.0),
    ]


def test_a_run_that_only_moved_further_does_not_win() -> None:
    """Both gain the same for the same change; one trained longer, and its margin is twice as large."""
    curves = {"short": [(0.01, 1.0)], "long": [(0.01, 1.0), (0.04, 2.0)]}
    rows = [row("long", accuracy=0.9, margin=2.0, loss=0.4), row("short", accuracy=0.9, margin=1.0, loss=0.3)]
    assert rank(rows, curves, stage="dpo") == 0.01
    assert [one["margin_at_kl"] for one in rows] == [1.0, 1.0]
    assert [one["run"] for one in rows] == ["short", "long"]  # equal margins: the lower held-out loss


def test_accuracy_comes_first_and_without_a_kl_the_margin_in_nats() -> None:
    rows = [row("a", accuracy=0.8, margin=9.0), row("b", accuracy=0.9, margin=1.0), row("c", accuracy=0.9, margin=2.0)]
    assert rank(rows, {}, stage="dpo") is None
    assert [one["run"] for one in rows] == ["c", "b", "a"]
    assert all(one["margin_at_kl"] is None for one in rows)


def test_sft_runs_are_ranked_by_their_held_out_loss() -> None:
    rows = [row("a", accuracy=0.0, loss=2.0), row("b", accuracy=0.0, loss=1.0)]
    rank(rows, {}, stage="sft")
    assert [one["run"] for one in rows] == ["b", "a"]


def test_the_rank_of_the_sft_parent_is_beside_that_of_the_run() -> None:
    rows = [row("a", accuracy=0.8) | {"sft_eval_loss": 1.0}, row("b", accuracy=0.9) | {"sft_eval_loss": 2.0}]
    rank(rows, {}, stage="dpo")
    assert [(one["run"], one["rank"], one["sft_rank"]) for one in rows] == [("b", 1, 2), ("a", 2, 1)]

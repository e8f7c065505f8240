"""The tables that `quire eval` prints: retrieval by kind and document, and differences of two runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assistant.cli.terminal import clean
from quire import pluralize

_COLUMNS = ("hit@1", "hit@3", "hit@4", "hit@5", "hit@10", "mrr", "recall@5", "recall@10")


def print_retrieval(result: Mapping[str, Any]) -> None:
    """Print the scores of all questions with their intervals, then by question_type and by document."""
    print(
        f"{pluralize(result['questions'], 'question')} of {pluralize(result['documents'], 'document')}, "
        f"scope {result['scope']}, {result['store']}, {result['embedder']}"
    )
    if result["without_evidence"]:
        print(f"left out: {pluralize(result['without_evidence'], 'question')} without evidence pages")
    print(f"\n  {'score':<12}{'mean':>10}  {'95 % interval':<16}{'mean over documents':>21}")
    for name, score in result["scores"].items():
        interval = f"[{score['low']:.3f}, {score['high']:.3f}]"
        print(f"  {name:<12}{score['mean']:>10.3f}  {interval:<16}{score['document_mean']:>21.3f}")
    for title in ("by_type", "by_document"):
        print_groups(title.replace("_", " "), result[title])
    print(
        f"\nsearch p50 {result['milliseconds_p50']} ms, p95 {result['milliseconds_p95']} ms, "
        f"{result['seconds']} s in total"
    )


def print_groups(title: str, groups: Mapping[str, Mapping[str, Any]]) -> None:
    """Print one line a group: its number of questions and the means of the main scores."""
    width = max(len(title), *(len(name) for name in groups), 8)
    print(f"\n  {title:<{width}}{'n':>5}" + "".join(f"{name:>10}" for name in _COLUMNS))
    for name, group in groups.items():
        means = "".join(f"{group['scores'][column]['mean']:>10.3f}" for column in _COLUMNS)
        print(f"  {clean(name or '(none)'):<{width}}{group['questions']:>5}{means}")


def print_differences(differences: Mapping[str, Mapping[str, Any]]) -> None:
    """Print each difference with its interval, the smallest one that this set can show, and McNemar's test."""
    for name, score in differences.items():
        smallest = score["smallest_difference"]
        line = f"  {name:<26}{score['mean']:>+9.3f}  [{score['low']:+.3f}, {score['high']:+.3f}]  n {score['n']}  " + (
            "no pair differs" if smallest is None else f"visible from {smallest:.3f}"
        )
        if "won" in score:
            line += f"  won {score['won']} lost {score['lost']}, exact McNemar p {score['mcnemar_p']:.3f}"
        print(line)

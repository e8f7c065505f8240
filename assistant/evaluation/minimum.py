"""Conditions on scores, such as `hit@5>=0.8`, that let a build fail."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_CONDITION = re.compile(r"\s*([\w@]+)\s*(>=|<=)\s*(\d+(?:\.\d+)?|\.\d+)\s*")


@dataclass(frozen=True)
class Condition:
    """The mean of a score is at least (or, with `at_most`, at most) a value."""

    score: str
    at_most: bool
    value: float


def parse_condition(text: str) -> Condition:
    """Return the condition that a text like `hit@5>=0.8` states; raises ArgumentTypeError, for argparse."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f'{text!r} is not a condition: write a score and a value, "hit@5>=0.8"')
    return Condition(match[1], match[2] == "<=", float(match[3]))


def failed_conditions(conditions: Sequence[Condition], scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return one sentence for each condition that is not met; a score that no question has does not meet any."""
    failed = []
    for condition in conditions:
        wanted = f"{'at most' if condition.at_most else 'at least'} {condition.value:g}"
        score = scores.get(condition.score)
        if score is None:
            failed.append(f"{condition.score} was not measured, and must be {wanted}")
        elif score["mean"] > condition.value if condition.at_most else score["mean"] < condition.value:
            failed.append(f"{condition.score} is {score['mean']:.4f}, and must be {wanted}")
    return failed

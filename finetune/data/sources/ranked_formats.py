"""Formats of ranked answers: several answers to one prompt, from which pairs are made."""

import math
import random
from collections.abc import Iterator, Sequence

from finetune.data.records import Preference, Record
from finetune.data.sources.fields import Fields, PairOptions, Pairs, Place, Values
from finetune.data.sources.prompts import find_prompt, has_prompt, prompt_field
from finetune.errors import InvalidRecord
from finetune.templates.messages import Message

Scored = tuple[float, str]

ANSWER_LISTS = ("responses", "answers", "ranked", "outputs", "completions", "output")


def ranked_pairs(
    prompt: tuple[Message, ...], answers: Sequence[Scored], place: Place, options: PairOptions, default: Pairs
) -> Iterator[Preference]:
    """Make pairs of answers with scores (higher is better); equal scores make no pair."""
    if len(answers) < 2:
        raise InvalidRecord(f"a pair needs two ranked answers, found {len(answers)}")
    ordered = sorted(answers, key=lambda scored: -scored[0])
    best = ordered[0]
    worse = [scored for scored in ordered if scored[0] < best[0]]
    if not worse:
        raise InvalidRecord("all answers have the same rank")
    match options.pairs or default:
        case "best-worst":
            found = [(best, worse[-1])]
        case "best-random":
            # seeded by the row, so that other rows do not change the choice
            generator = random.Random(f"{options.seed}:{place.row}")  # noqa: S311 - not a secret
            found = [(best, generator.choice(worse))]
        case "all":
            found = [(a, b) for i, a in enumerate(ordered) for b in ordered[i + 1 :] if b[0] < a[0]]
    group = place.group or place.own_group
    for (_, good), (_, bad) in found:
        chosen, rejected = (Message("assistant", good),), (Message("assistant", bad),)
        yield Preference(prompt, chosen, rejected, **{**place.origin(), "group": group})


def ultrafeedback(row: Fields) -> Iterator[Record]:
    """Read an UltraFeedback row: answers scored by the mean of their ratings."""
    answers = []
    for item in row.objects("completions", "response", "annotations"):
        ratings = _ratings(item)
        if ratings:  # `overall_score` has known errors
            answers.append((sum(ratings) / len(ratings), item.text("response")))
    prompt = row.opened(row.prompt("instruction"))
    yield from ranked_pairs(prompt, answers, row.place, row.options, "best-random")


def is_ultrafeedback(values: Values) -> bool:
    """Return whether a row has completions with annotations."""
    completions = values.get("completions")
    return isinstance(completions, list) and any(isinstance(c, dict) and "annotations" in c for c in completions)


def _ratings(completion: Fields) -> list[float]:
    aspects = completion.values.get("annotations") or {}
    if not isinstance(aspects, dict):
        raise completion.place.error(f"`annotations` must be an object, found {type(aspects).__name__}")
    found = [_rating(aspect.get("Rating")) for aspect in aspects.values() if isinstance(aspect, dict)]
    return [rating for rating in found if rating is not None]


def _rating(value: object) -> float | None:
    try:
        rating = float(str(value))
    except ValueError:  # "N/A"
        return None
    return rating if math.isfinite(rating) else None


def ranked(row: Fields) -> Iterator[Record]:
    """Read a list of answers: best first, or with ranks or scores."""
    name = _answer_field(row.values)
    if not name:
        raise row.place.error(
            f"no list of answers in any of `{'`, `'.join(ANSWER_LISTS)}` (fields: {', '.join(row.values)})"
        )
    answers = [_scored_answer(row, name, position) for position in range(len(row.value(name)))]
    prompt = row.opened(find_prompt(row), history=prompt_field(row) != "history")
    yield from ranked_pairs(prompt, answers, row.place, row.options, "best-worst")


def is_ranked(values: Values) -> bool:
    """Return whether a row has a prompt and a list of answers."""
    name = _answer_field(values)
    if not name or not has_prompt(values):
        return False
    items = values[name]
    return all(isinstance(i, str) for i in items) or all(
        isinstance(i, dict) and ({"answer", "response", "text"} & set(i)) for i in items
    )


def _answer_field(values: Values) -> str:
    return next((n for n in ANSWER_LISTS if isinstance(values.get(n), list) and values[n]), "")


def _scored_answer(row: Fields, name: str, position: int) -> Scored:
    item = row.value(name)[position]
    if isinstance(item, dict):
        return _scored_object(row.nested(item), position)
    if not isinstance(item, str):
        raise row.place.error(f"`{name}` must be texts or objects, found {type(item).__name__}")
    score = -float(position)
    for sign, ranking in ((1, "scores"), (-1, "ranks")):
        numbers = row.values.get(ranking)
        if isinstance(numbers, list):
            if len(numbers) != len(row.value(name)):
                raise row.place.error(f"`{name}` has {len(row.value(name))} answers, their ranking {len(numbers)}")
            score = sign * row.nested({ranking: numbers[position]}).number(ranking)
    return score, item


def _scored_object(item: Fields, position: int) -> Scored:
    name = next((n for n in ("answer", "response", "text", "content", "completion") if n in item.values), "answer")
    score = -float(position)
    if "rank" in item.values:
        score = -item.number("rank")
    elif "score" in item.values:
        score = item.number("score")
    return score, item.text(name)

"""HelpSteer rows, of which several share a prompt: pairs of the answers to each prompt."""

from collections.abc import Iterable
from dataclasses import dataclass

from finetune.data.sources.fields import Fields, PairOptions, Place, read_fields
from finetune.data.sources.loaded import LoadedData
from finetune.data.sources.problem import Problem
from finetune.data.sources.ranked_formats import ranked_pairs
from finetune.data.sources.row import Row
from finetune.errors import InvalidRecord, MalformedRow
from finetune.templates.messages import Message


@dataclass(frozen=True, slots=True)
class _Answer:
    place: Place
    score: float
    text: str


def read_helpsteer(rows: Iterable[Row], source: str, options: PairOptions, loaded: LoadedData) -> None:
    """Add a pair for each prompt: the mean of helpfulness and correctness ranks its answers."""
    groups: dict[str, list[_Answer]] = {}
    for row in rows:
        try:
            prompt, answer = _read_answer(read_fields(row, source))
            groups.setdefault(prompt, []).append(answer)
        except MalformedRow as exc:
            loaded.problems.append(Problem.malformed(exc))
    for prompt, answers in groups.items():
        turns = (Message("user", prompt),)
        scored = [(answer.score, answer.text) for answer in answers]
        try:
            pairs = list(ranked_pairs(turns, scored, answers[0].place, options, "best-worst"))
        except InvalidRecord as exc:
            places = [answer.place for answer in answers]
            loaded.problems += [Problem.invalid(exc, place.row, place.line, source) for place in places]
            continue
        loaded.records += pairs
        loaded.kept += len(answers)


def _read_answer(row: Fields) -> tuple[str, _Answer]:
    prompt, text = row.text("prompt"), row.text("response")
    score = (row.number("helpfulness") + row.number("correctness")) / 2
    return prompt, _Answer(row.place, score, text)

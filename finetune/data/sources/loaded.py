"""A data set after loading: its records, and a problem for each row that was dropped."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from finetune.data.records import Record
from finetune.data.sources.problem import Problem


@dataclass(slots=True)
class LoadedData:
    """The records of a data set and its format; `kept` of its `rows` became records."""

    format: str
    rows: int = 0
    kept: int = 0
    problems: list[Problem] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)


def join(parts: Sequence[LoadedData]) -> LoadedData:
    """Join several loaded data sets into one, in their order."""
    return LoadedData(
        format=" + ".join(dict.fromkeys(part.format for part in parts)),
        rows=sum(part.rows for part in parts),
        kept=sum(part.kept for part in parts),
        problems=[problem for part in parts for problem in part.problems],
        records=[record for part in parts for record in part.records],
    )

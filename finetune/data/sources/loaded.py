"""A data set after loading: its records, and a problem for each row that was dropped."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from finetune.data.records import Record
from finetune.data.sources.problem import Problem

_MAX_NAMES = 12  # fields named in a sentence; JSON has all


@dataclass(slots=True)
class LoadedData:
    """The records of a data set and its format; `kept` of its `rows` became records.

    `unread` are the fields that had no effect, `notices` what was decided about its files and fields.
    """

    format: str
    rows: int = 0
    kept: int = 0
    problems: list[Problem] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def sentences(self) -> list[str]:
        """Return the notices, and one on the fields that had no effect."""
        shown = ", ".join(self.unread[:_MAX_NAMES]) + (", ..." if len(self.unread) > _MAX_NAMES else "")
        return [*self.notices, *([f"fields without effect: {shown}"] if self.unread else [])]


def join(parts: Sequence[LoadedData]) -> LoadedData:
    """Join several loaded data sets into one, in their order."""
    return LoadedData(
        format=" + ".join(dict.fromkeys(part.format for part in parts)),
        rows=sum(part.rows for part in parts),
        kept=sum(part.kept for part in parts),
        problems=[problem for part in parts for problem in part.problems],
        records=[record for part in parts for record in part.records],
        unread=list(dict.fromkeys(name for part in parts for name in part.unread)),
        notices=list(dict.fromkeys(notice for part in parts for notice in part.notices)),
    )

"""Records to training and held-out parts: what belongs together stays together, and content alone decides."""

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

from finetune.data.records import Record, Text, prompt_of
from quire import UsageError


class Split(NamedTuple):
    """The two parts, each in the order of the records."""

    train: list[Record]
    held_out: list[Record]


def group_of(record: Record) -> str:
    """Name what a record may not be split from: its tree or post, else every record with the same prompt."""
    if record.group:
        return f"group:{record.group}"
    if isinstance(record, Text):
        return f"text:{record.text}"
    return "prompt:" + json.dumps([(m.role, m.text) for m in prompt_of(record)], ensure_ascii=False)


def split(records: Sequence[Record], *, held_out: float, seed: int = 0) -> Split:
    """Put whole groups into the held-out part until it has at least `held_out` (a fraction) of the records.

    A group's place depends on its name and the seed, so that rows added later move few of the others.
    """
    if not 0 <= held_out < 1:
        raise UsageError(f"the held-out part is a fraction from 0 to below 1, found {held_out}", "0.05 is usual")
    groups: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        groups.setdefault(group_of(record), []).append(index)
    order = sorted(groups, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    wanted, chosen = held_out * len(records), set[int]()
    for name in order[:-1]:  # one group at least is left to train on
        if len(chosen) >= wanted:
            break
        chosen.update(groups[name])
    train = [record for index, record in enumerate(records) if index not in chosen]
    return Split(train, [records[index] for index in sorted(chosen)])

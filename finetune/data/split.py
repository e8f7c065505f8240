"""The split into training and held-out records, by group; it does not depend on their order."""

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


def _group_of(record: Record) -> str:
    """Return the group that a record stays with: its tree or post, else all records with the same prompt."""
    if record.group:
        return f"group:{record.group}"
    if isinstance(record, Text):
        return f"text:{record.text}"
    return "prompt:" + json.dumps([(m.role, m.text) for m in prompt_of(record)], ensure_ascii=False)


def split(records: Sequence[Record], *, held_out: float, seed: int = 0, limit: int = 0) -> Split:
    """Hold out whole groups until they have at least `held_out` (a fraction) of the records, or `limit` of them.

    With a limit (0: none), a group that would exceed it is left to train on.
    A group's position depends only on its name and the seed, so that rows added later move few of the others.
    """
    if not 0 <= held_out < 1:
        raise UsageError(f"the held-out fraction must be from 0 to below 1, found {held_out}", "0.05 is usual")
    groups: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        groups.setdefault(_group_of(record), []).append(index)
    order = sorted(groups, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    wanted, chosen = held_out * len(records), set[int]()
    wanted = min(wanted, limit) if limit else wanted
    for name in order[:-1]:  # at least one group is left to train on
        if len(chosen) >= wanted:
            break
        if not limit or len(chosen) + len(groups[name]) <= limit:
            chosen.update(groups[name])
    train = [record for index, record in enumerate(records) if index not in chosen]
    return Split(train, [records[index] for index in sorted(chosen)])

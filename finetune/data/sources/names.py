"""Names of fields as files spell them: ` output`, `System Prompt` and `chatHistory` are known too."""

import re
from collections.abc import Sequence
from functools import cache

from finetune.data.sources.formats import ROW_FORMATS
from finetune.data.sources.meanings import ALIASES, MARKS, ROW_RULES
from finetune.data.sources.row import Row

_OTHERS = ("human_ref_A", "human_ref_B", "message_id", "parent_id", "helpfulness", "correctness")


@cache
def _known() -> dict[str, str]:
    names = [name for format in ROW_FORMATS for name in format.reads]
    names += [name for rule in ROW_RULES for name in rule.names]
    return {name.lower(): name for name in (*names, *MARKS, *_OTHERS)}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[ -]+", "_", name).lower()


@cache
def _renamed(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of a row's fields as formats spell them; a name that is taken already stays as it is."""
    found: list[str] = []
    for name in names:
        plain, snake = str(name).strip().lower(), _snake(str(name).strip())
        known = _known().get(plain) or _known().get(snake) or ALIASES.get(plain) or ALIASES.get(snake) or name
        found.append(known if known == name or known not in (*names, *found) else name)
    return tuple(found)


def with_known_names(rows: Sequence[Row], *, keep: str = "") -> Sequence[Row]:
    """Return the rows with the names of fields as formats spell them; the field `keep` stays as it is."""
    shapes = {tuple(row.values) for row in rows}
    if all(_renamed(shape) == shape for shape in shapes):
        return rows
    return [_with_names(row, keep) for row in rows]


def _with_names(row: Row, keep: str) -> Row:
    names = tuple(row.values)
    new = [name if name == keep else known for name, known in zip(names, _renamed(names), strict=True)]
    return row._replace(values=dict(zip(new, row.values.values(), strict=True)))

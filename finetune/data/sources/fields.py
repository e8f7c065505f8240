"""The fields of one row, read by type; an error names the file, the line and the field."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Literal

from finetune.data.sources.readers import Row
from finetune.errors import MalformedRow
from finetune.templates.messages import Message

Values = Mapping[str, Any]
Pairs = Literal["best-worst", "best-random", "all"]

GROUP_FIELD = "split_group"  # of rows that `quire finetune data convert` wrote

ROLES = {
    "system": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row is: its file, row and line (1-based); rows of one `group` stay together in a split."""

    source: str
    row: int
    line: int
    group: str = ""

    @property
    def own_group(self) -> str:
        """Return the group of the records of this row alone; it is the same in whatever folder the file is."""
        return f"{PurePath(self.source).name}:{self.row}"

    def error(self, problem: str) -> MalformedRow:
        """Return the error for a row that does not fit the format of its file."""
        return MalformedRow(self.source, self.line, problem, row=self.row)

    def origin(self) -> dict[str, Any]:
        """Return the fields of a record that say where it came from."""
        return {"source": self.source, "row": self.row, "group": self.group}


@dataclass(frozen=True, slots=True)
class PairOptions:
    """Which pairs to make of ranked answers (None: the format's default), and the seed of a random choice."""

    pairs: Pairs | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Fields:
    """The values of one row, with its place; every method raises MalformedRow for a value of another type."""

    values: Values
    place: Place
    options: PairOptions

    def nested(self, values: Values) -> "Fields":
        """Return the fields of an object inside this row."""
        return replace(self, values=values)

    def value(self, name: str) -> Any:
        """Return a field of any type, which must be there."""
        if name not in self.values:
            raise self._wrong_type(name, "set")
        return self.values[name]

    def objects(self, name: str, *fields: str) -> list["Fields"]:
        """Return a list of objects, each as fields; an error names the `fields` that they should have."""
        items = self.value(name)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self.place.error(f"`{name}` must be a list of objects with {' and '.join(f'`{f}`' for f in fields)}")
        return [self.nested(item) for item in items]

    def text(self, name: str, *, default: str | None = None) -> str:
        """Return a text; `default` replaces a missing or null field, None makes the field required."""
        value = self.values.get(name, default)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise self._wrong_type(name, "text")
        return value

    def first_text(self, *names: str) -> str:
        """Return the first of these fields that is not empty; "" without one, or if it is not text."""
        value = next((value for name in names if (value := self.values.get(name))), "")
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> float:
        """Return a number, also from a text that contains one."""
        value = self.values.get(name)
        try:
            if isinstance(value, bool) or value is None:
                raise ValueError
            number = float(value)
            if not math.isfinite(number):
                raise ValueError
            return number
        except (TypeError, ValueError):
            raise self.place.error(f"`{name}` must be a number, found {value!r}") from None

    def messages(self, name: str) -> tuple[Message, ...]:
        """Return a list of messages; a text is one message of the user."""
        value = self.values.get(name)
        if isinstance(value, str):
            return (Message("user", value),)
        if not isinstance(value, list):
            raise self._wrong_type(name, "a list of messages")
        return tuple(self._message(item, f"`{name}` message {n}") for n, item in enumerate(value, start=1))

    def answer(self, name: str) -> tuple[Message, ...]:
        """Return an answer, given as a text, as one message or as a list of messages."""
        value = self.values.get(name)
        if isinstance(value, str):
            return (Message("assistant", value),)
        if isinstance(value, dict):
            return (self._message(value, f"`{name}`"),)
        return self.messages(name)

    def _message(self, value: object, what: str) -> Message:
        """Read one message in the names of chat (`role`, `content`) or ShareGPT (`from`, `value`)."""
        if not isinstance(value, dict):
            raise self.place.error(f"{what} must be a message, found {type(value).__name__}")
        role = value.get("role", value.get("from"))
        content = value.get("content", value.get("value"))
        if not isinstance(role, str) or not ({"content", "value"} & value.keys()):
            raise self.place.error(
                f"{what} needs `role` and `content` (or `from` and `value`), found {', '.join(value)}"
            )
        if isinstance(content, list) and content and all(map(_is_text_part, content)):
            content = "".join(str(part.get("text") or "") for part in content)
        if not isinstance(content, str):
            found = "parts that are not text" if isinstance(content, list) else type(content).__name__
            raise self.place.error(f"{what} ({role}) must be text, found {found}")
        return Message(ROLES.get(role.strip().lower(), role), content, str(value.get("context") or ""))

    def _wrong_type(self, name: str, expected: str) -> MalformedRow:
        if name not in self.values:
            return self.place.error(f"`{name}` is missing (fields: {', '.join(self.values)})")
        return self.place.error(f"`{name}` must be {expected}, found {type(self.values[name]).__name__}")


def _is_text_part(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "text"


def read_fields(row: Row, source: str, options: PairOptions = PairOptions()) -> Fields:
    """Return the fields of a row of a file; raises MalformedRow if the row has an error."""
    group = row.values.get(GROUP_FIELD)
    place = Place(source, row.number, row.line, group if isinstance(group, str) else "")
    if row.error:
        raise place.error(row.error)
    return Fields(row.values, place, options)


def has_fields(*names: str) -> Callable[[Values], bool]:
    """Return a test for rows that have all these fields."""
    return lambda values: all(name in values for name in names)


def has_list(name: str) -> Callable[[Values], bool]:
    """Return a test for rows with a list in this field."""
    return lambda values: isinstance(values.get(name), list)


def with_system(turns: tuple[Message, ...], system: str) -> tuple[Message, ...]:
    """Put a system message before the turns, unless it is empty or they have one."""
    if not system.strip() or (turns and turns[0].role == "system"):
        return turns
    return (Message("system", system), *turns)

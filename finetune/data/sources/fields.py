"""The fields of one row, read by type; an error names the file, the line and the field."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Literal

from finetune.data.sources.meanings import HISTORY, SYSTEM, is_set, is_trained, refuse_message
from finetune.data.sources.message_lists import CONTENT_KEYS, ROLE_KEYS, as_message_list, holds_messages, parse_text
from finetune.data.sources.rendered import read_answer, read_conversation, read_rendered_prompt
from finetune.data.sources.row import Row
from finetune.errors import MalformedRow, NotHonored
from finetune.templates.messages import Message

Values = Mapping[str, Any]
Pairs = Literal["best-worst", "best-random", "all"]

GROUP_FIELD = "split_group"  # of rows that `quire finetune data convert` wrote

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "ai": "assistant",
    "chatbot": "assistant",
}
_TOOL_ROLES = ("tool", "function", "function_call", "tool_call", "observation", "ipython", "function_response", "tool_response")  # fmt: skip


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
        """Return a list of messages in any form; other text is a rendered prompt, or one message of the user."""
        value = as_message_list(self.values.get(name))
        if isinstance(value, str):
            return read_rendered_prompt(value) or (Message("user", value),)
        if not isinstance(value, list):
            raise self._wrong_type(name, "a list of messages")
        return tuple(self._message(item, f"`{name}` message {n}") for n, item in enumerate(value, start=1))

    def turns(self, name: str) -> tuple[Message, ...]:
        """Return a list of messages in any form; a text must be one."""
        value = as_message_list(self.values.get(name))
        if isinstance(value, str) and (rendered := read_conversation(value)):
            return rendered
        if isinstance(value, str):
            raise self._wrong_type(name, "a list of messages")
        return self.messages(name)

    def answer(self, name: str, *, rendered: bool = False) -> tuple[Message, ...]:
        """Return an answer, given as a text, as one message or as a list of messages.

        A `rendered` prompt's answer ends with the end token of its template, which is removed.
        """
        value = as_message_list(self.values.get(name))
        if isinstance(value, str):
            return read_answer(value, after_rendered_prompt=rendered) or (Message("assistant", value),)
        if isinstance(value, dict):
            return (self._message(value, f"`{name}`"),)
        return self.messages(name)

    def text_answer(self, name: str, *, rendered: bool = False) -> tuple[Message, ...]:
        """Return an answer that must be text, which may hold messages."""
        self.text(name)
        return self.answer(name, rendered=rendered)

    def prompt(self, name: str, *, context: str = "") -> tuple[Message, ...]:
        """Return a prompt that must be text: the turns of a rendered one, or one message with its context."""
        text = self.text(name)
        turns = read_rendered_prompt(text)
        if isinstance(parsed := as_message_list(text), list):
            turns = self.nested({name: parsed}).messages(name)
        if context and turns:
            raise NotHonored(f"`{name}` holds whole turns, and beside it is a context")
        return turns or (Message("user", text, context),)

    def opened(self, turns: tuple[Message, ...], *, system: str = "", history: bool = True) -> tuple[Message, ...]:
        """Put the system message and the earlier turns of the row before its turns.

        `system` names the field of the system message where the format has its own; without `history`, the earlier turns
        are the prompt. Raises NotHonored for two system
        messages that differ.
        """
        opening = self.system(*((system,) if system else SYSTEM))
        has_own = bool(turns) and turns[0].role == "system"
        own = turns[0].content if has_own else ""
        turns = turns[1:] if has_own else turns
        if opening and own and opening.strip() != own.strip():
            raise NotHonored("the row has two system messages that differ")
        opening = own or opening
        turns = (*self._history(), *turns) if history else turns
        return (Message("system", opening), *turns) if has_own or opening.strip() else turns

    def system(self, *names: str) -> str:
        """Return the text of the first of these fields that is set, which may be a message or a list of one; else ""."""
        name = next((name for name in names if is_set(self.values.get(name))), "")
        if not name:
            return ""
        value = as_message_list(self.values[name])
        if isinstance(value, str):
            return value
        items = value if isinstance(value, list) else [value]
        if all(isinstance(item, str) for item in items):
            return "\n".join(items)
        if all(map(_is_text_part, items)):
            return _joined_parts(items)
        found = [
            self._message({"role": "system", **item} if isinstance(item, dict) else item, f"`{name}`") for item in items
        ]
        if any(message.role != "system" for message in found):
            raise self.place.error(f"`{name}` must hold a system message, found one of the {found[-1].role}")
        return "\n\n".join(message.content for message in found)

    def _history(self) -> tuple[Message, ...]:
        """Return the earlier turns of a row: pairs of a question and an answer, or messages."""
        name = next((name for name in HISTORY if is_set(self.values.get(name))), "")
        if not name:
            return ()
        value = self.values[name]
        value = parse_text(value) if isinstance(value, str) else value
        if not isinstance(value, list):
            raise self.place.error(f"`{name}` must be a list of turns, found {type(self.values[name]).__name__}")
        if all(isinstance(item, dict) and set(ROLE_KEYS) & item.keys() for item in value):
            return self.nested({name: value}).messages(name)
        turns: list[Message] = []
        for item in value:
            texts = list(item.values()) if isinstance(item, dict) else item
            if not isinstance(texts, list | tuple) or len(texts) != 2 or not all(isinstance(t, str) for t in texts):
                raise self.place.error(f"`{name}` must hold pairs of a question and an answer, found {item!r:.60}")
            turns += [Message("user", texts[0]), Message("assistant", texts[1])]
        return tuple(turns)

    def _message(self, value: object, what: str) -> Message:
        """Read one message in the names of chat (`role`, `content`) or ShareGPT (`from`, `value`)."""
        if not isinstance(value, dict):
            raise self.place.error(f"{what} must be a message, found {type(value).__name__}")
        role = next((value[key] for key in ROLE_KEYS if key in value), None)
        content_key = next((key for key in CONTENT_KEYS if key in value), "")
        if isinstance(role, str) and role.strip().lower() in _TOOL_ROLES:
            raise NotHonored(f"{what} is of the role {role!r}: tools and tool calls are not trained")
        refuse_message(value, f"{what} ({role})")
        if not isinstance(role, str) or not content_key:
            raise self.place.error(
                f"{what} needs `role` and `content` (or `from` and `value`), found {', '.join(map(str, value))}"
            )
        content = value[content_key]
        if isinstance(content, list) and content and all(map(_is_text_part, content)):
            content = _joined_parts(content)
        if not isinstance(content, str):
            found = "parts that are not text" if isinstance(content, list) else type(content).__name__
            raise self.place.error(f"{what} ({role}) must be text, found {found}")
        role = ROLES.get(role.strip().lower(), role)
        trained = is_trained(value, what, of_assistant=role == "assistant")
        context = value.get("context")
        return Message(role, content, context if isinstance(context, str) else "", trained)

    def _wrong_type(self, name: str, expected: str) -> MalformedRow:
        if name not in self.values:
            return self.place.error(f"`{name}` is missing (fields: {', '.join(self.values)})")
        return self.place.error(f"`{name}` must be {expected}, found {type(self.values[name]).__name__}")


def _is_text_part(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "text"


def _joined_parts(parts: list[Any]) -> str:
    return "".join(str(part.get("text") or "") for part in parts)


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


def has_messages(name: str, *, strict: bool = False) -> Callable[[Values], bool]:
    """Return a test for rows with a list of messages, in any form, in this field; `strict` looks into the list."""
    return lambda values: holds_messages(values.get(name), strict=strict)

"""The records that training data becomes: conversations, preferences, labels and plain text.

Records are checked when they are made: wrong roles, an empty answer or two equal answers raise InvalidRecord, so that
no later stage has to check again. Each record keeps the file and the row that it came from.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from finetune.errors import InvalidRecord
from finetune.templates.messages import Message, check_turns

Task = Literal["sft", "preference", "label"]


def _require_text(messages: Iterable[Message], what: str) -> None:
    for message in messages:
        if message.role == "assistant" and not message.content.strip():
            raise InvalidRecord(f"empty {what}")
        if message.role == "user" and not message.text.strip():
            raise InvalidRecord("empty prompt")


def _require_trained(messages: Iterable[Message]) -> None:
    if not any(message.trained for message in messages if message.role == "assistant"):
        raise InvalidRecord("every answer is marked as not to be trained")


def _plain(messages: Iterable[Message]) -> list[dict[str, Any]]:
    return [message.to_dict() for message in messages]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns that end with an assistant's answer.

    `row` is the 1-based row of `source`. Records of one `group` (a tree, a post or a prompt that several rows share)
    stay together in a split.
    """

    messages: tuple[Message, ...]
    source: str = ""
    row: int = 0
    group: str = ""

    def __post_init__(self) -> None:
        check_turns(self.messages, last="assistant")
        _require_text(self.messages, "answer")
        _require_trained(self.messages)

    def to_dict(self) -> dict[str, Any]:
        """Return the record in the format `messages`."""
        return {"messages": _plain(self.messages)}


@dataclass(frozen=True, slots=True)
class Preference:
    """A prompt and two different answers, of which `chosen` is preferred."""

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    source: str = ""
    row: int = 0
    group: str = ""

    def __post_init__(self) -> None:
        for name, answer in (("chosen", self.chosen), ("rejected", self.rejected)):
            if not answer:
                raise InvalidRecord(f"empty {name} answer")
            check_turns(self.prompt + answer, last="assistant")
            _require_text(answer, f"{name} answer")
            _require_trained(answer)
        check_turns(self.prompt, last="user")
        _require_text(self.prompt, "answer in the prompt")
        if [m.content.strip() for m in self.chosen] == [m.content.strip() for m in self.rejected]:
            raise InvalidRecord("chosen and rejected answers are equal")

    def to_dict(self) -> dict[str, Any]:
        """Return the record as `quire feedback export` writes it."""
        return {"prompt": _plain(self.prompt), "chosen": _plain(self.chosen), "rejected": _plain(self.rejected)}


@dataclass(frozen=True, slots=True)
class Label:
    """A prompt, an answer, and whether the answer is wanted (KTO)."""

    prompt: tuple[Message, ...]
    completion: tuple[Message, ...]
    label: bool
    source: str = ""
    row: int = 0
    group: str = ""

    def __post_init__(self) -> None:
        check_turns(self.prompt, last="user")
        check_turns(self.prompt + self.completion, last="assistant")
        _require_text(self.prompt + self.completion, "answer")
        _require_trained(self.completion)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as `quire feedback export` writes it for KTO."""
        return {"prompt": _plain(self.prompt), "completion": _plain(self.completion), "label": self.label}


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text without turns; every token is trained."""

    text: str
    source: str = ""
    row: int = 0
    group: str = ""

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise InvalidRecord("empty text")

    def to_dict(self) -> dict[str, Any]:
        """Return the record in the format `text`."""
        return {"text": self.text}


Record = Conversation | Preference | Label | Text


def prompt_of(record: Record) -> tuple[Message, ...]:
    """Return the messages before the last answer, none for plain text."""
    match record:
        case Conversation():
            return record.messages[:-1]
        case Preference() | Label():
            return record.prompt
        case Text():
            return ()


def answers_of(record: Record) -> tuple[tuple[Message, ...], ...]:
    """Return the answers that follow the prompt: chosen and rejected of a preference, none of plain text."""
    match record:
        case Conversation():
            return (record.messages[-1:],)
        case Preference():
            return (record.chosen, record.rejected)
        case Label():
            return (record.completion,)
        case Text():
            return ()


def to_task(records: Iterable[Record], task: Task) -> Iterator[Record]:
    """Convert records to what a stage trains on.

    `sft` takes the chosen answer of a preference and the wanted answers of labels; `label` makes a wanted and an
    unwanted record of a preference. Raises InvalidRecord for a record that has no such form (a conversation as a
    `preference`).
    """
    for record in records:
        yield from _convert(record, task)


def _convert(record: Record, task: Task) -> Iterator[Record]:
    origin: dict[str, Any] = {"source": record.source, "row": record.row, "group": record.group}
    match record, task:
        case (Conversation() | Text(), "sft") | (Preference(), "preference") | (Label(), "label"):
            yield record
        case Preference(), "sft":
            yield Conversation(record.prompt + record.chosen, **origin)
        case Label(), "sft":
            if record.label:
                yield Conversation(record.prompt + record.completion, **origin)
        case Preference(), "label":
            yield Label(record.prompt, record.chosen, True, **origin)
            yield Label(record.prompt, record.rejected, False, **origin)
        case _:
            kind = type(record).__name__.lower()
            raise InvalidRecord(
                f"{record.source}, row {record.row}: a {kind} cannot be used for {task}",
                "preference training needs pairs of answers, label training needs labels",
            )

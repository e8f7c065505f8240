"""What one row of training data says, whatever file it came from: a conversation, a preference, a label or
plain text.

Records are checked when they are made: wrong roles, an empty answer or two equal answers raise
`InvalidRecord`, so that no later stage needs to look again. Where a row came from travels along.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from finetune.errors import InvalidRecord
from finetune.templates.messages import Message, check_turns

Task = Literal["sft", "preference", "label"]
TASKS: tuple[Task, ...] = ("sft", "preference", "label")


def _require_text(messages: Iterable[Message], what: str) -> None:
    for message in messages:
        if message.role == "assistant" and not message.content.strip():
            raise InvalidRecord(f"empty {what}")
        if message.role == "user" and not message.text.strip():
            raise InvalidRecord("empty prompt")


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns that end with an assistant's answer; `group` keeps rows together that may not be split apart.

    `row` is the 1-based row of `source`; `group` names a tree, a post or a prompt that several rows share.
    """

    messages: tuple[Message, ...]
    source: str = ""
    row: int = 0
    group: str = ""

    def __post_init__(self) -> None:
        check_turns(self.messages, last="assistant")
        _require_text(self.messages, "answer")

    def to_dict(self) -> dict[str, Any]:
        """Give the row in the `messages` shape."""
        return {"messages": [message.to_dict() for message in self.messages]}


@dataclass(frozen=True, slots=True)
class Preference:
    """One prompt and two different answers to it, the first of them preferred."""

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
        check_turns(self.prompt, last="user")
        _require_text(self.prompt, "answer in the prompt")
        if [m.content.strip() for m in self.chosen] == [m.content.strip() for m in self.rejected]:
            raise InvalidRecord("chosen and rejected answers are equal")

    @property
    def system(self) -> str | None:
        """Give the system message of the prompt, None without one."""
        return self.prompt[0].content if self.prompt[0].role == "system" else None

    def to_dict(self) -> dict[str, Any]:
        """Give the row in the shape that `quire feedback export` writes."""
        return {
            "prompt": [message.to_dict() for message in self.prompt],
            "chosen": [message.to_dict() for message in self.chosen],
            "rejected": [message.to_dict() for message in self.rejected],
        }


@dataclass(frozen=True, slots=True)
class Label:
    """One prompt, one answer, and whether the answer is wanted (KTO)."""

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

    def to_dict(self) -> dict[str, Any]:
        """Give the row in the shape that `quire feedback export` writes for KTO."""
        return {
            "prompt": [message.to_dict() for message in self.prompt],
            "completion": [message.to_dict() for message in self.completion],
            "label": self.label,
        }


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text without turns, every token of which is trained."""

    text: str
    source: str = ""
    row: int = 0
    group: str = ""

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise InvalidRecord("empty text")

    def to_dict(self) -> dict[str, Any]:
        """Give the row in the `text` shape."""
        return {"text": self.text}


Record = Conversation | Preference | Label | Text


def prompt_of(record: Record) -> tuple[Message, ...]:
    """Give the messages before the last answer (nothing for plain text)."""
    match record:
        case Conversation():
            return record.messages[:-1]
        case Preference() | Label():
            return record.prompt
        case Text():
            return ()


def to_task(records: Iterable[Record], task: Task) -> Iterator[Record]:
    """Turn records into what a stage trains on, where that loses no truth.

    `sft` takes the chosen answer of a preference and the wanted answers of labels; `label` makes one wanted
    and one unwanted row of a preference. Records that cannot serve (a conversation for `preference`) raise
    InvalidRecord.
    """
    for record in records:
        yield from _convert(record, task)


def _convert(record: Record, task: Task) -> Iterator[Record]:
    where = {"source": record.source, "row": record.row, "group": record.group}
    match record, task:
        case (Conversation() | Text(), "sft") | (Preference(), "preference") | (Label(), "label"):
            yield record
        case Preference(), "sft":
            yield Conversation(record.prompt + record.chosen, **where)  # type: ignore[arg-type]
        case Label(), "sft":
            if record.label:
                yield Conversation(record.prompt + record.completion, **where)  # type: ignore[arg-type]
        case Preference(), "label":
            yield Label(record.prompt, record.chosen, True, **where)  # type: ignore[arg-type]
            yield Label(record.prompt, record.rejected, False, **where)  # type: ignore[arg-type]
        case _:
            kind = type(record).__name__.lower()
            raise InvalidRecord(
                f"{record.source}, row {record.row}: a {kind} cannot be used for {task}",
                "preference training needs pairs of answers, label training needs labels",
            )

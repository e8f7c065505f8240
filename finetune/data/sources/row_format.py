"""A format of rows: the fields by which it is detected, those that it reads, and its builder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from finetune.data.records import Record
from finetune.data.sources.fields import Fields, Values
from finetune.data.sources.meanings import CONVERSATION

Builder = Callable[[Fields], Iterator[Record]]
Kind = Literal["conversation", "pair", "label", "text"]


@dataclass(frozen=True, slots=True)
class Format:
    """A format of rows: `matches` detects it by the fields of one row, `build` makes the records of one row.

    `reads` are all fields that `build` reads; `kind` is what it makes.
    """

    name: str
    fields: str
    matches: Callable[[Values], bool]
    build: Builder
    reads: tuple[str, ...]
    kind: Kind = "conversation"


def first_match(formats: tuple[Format, ...], values: Values) -> Format:
    """Return the first of these formats that matches a row, else the first of all, whose error names what is missing."""
    return next((format for format in formats if format.matches(values)), formats[0])


def reads(names: str, *, opening: bool = True) -> tuple[str, ...]:
    """Return the fields of a format, given in one text; with `opening`, also those of a system message and earlier turns."""
    return (*names.split(), *(CONVERSATION if opening else ()))

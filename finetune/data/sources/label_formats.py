"""Formats of labeled answers (KTO): one answer, and whether it is wanted."""

from collections.abc import Iterator

from finetune.data.records import Conversation, Label, Record
from finetune.data.sources.chat_formats import alpaca
from finetune.data.sources.fields import Fields, with_system


def labeled_messages(row: Fields) -> Iterator[Record]:
    """Read a conversation with a label for its last answer."""
    turns = row.messages("messages" if "messages" in row.values else "conversations")
    yield Label(turns[:-1], turns[-1:], _label(row), **row.place.origin())


def labeled_completion(row: Fields) -> Iterator[Record]:
    """Read a prompt and a completion with a label."""
    prompt = with_system(row.messages("prompt"), row.first_text("system"))
    yield Label(prompt, row.answer("completion"), _label(row), **row.place.origin())


def labeled_alpaca(row: Fields) -> Iterator[Record]:
    """Read an Alpaca row with a label."""
    for record in alpaca(row):
        if isinstance(record, Conversation):
            yield Label(record.messages[:-1], record.messages[-1:], _label(row), **row.place.origin())


def _label(row: Fields) -> bool:
    name = "label" if "label" in row.values else "kto_tag"
    value = row.value(name)
    known = {"true": True, "1": True, "false": False, "0": False}
    if str(value).lower() not in known:
        raise row.place.error(f"`{name}` must be true or false, found {value!r}")
    return known[str(value).lower()]

"""Formats of conversations and plain text: which rows have them, and the records each row becomes."""

from collections.abc import Callable, Iterator

from finetune.data.records import Conversation, Record, Text
from finetune.data.sources.fields import Fields, Values, has_fields, with_system
from finetune.data.sources.transcripts import split_transcript
from finetune.templates.messages import Message

Builder = Callable[[Fields], Iterator[Record]]


def chat(name: str) -> Builder:
    """Return a builder for rows with a list of messages in the field `name`."""

    def build(row: Fields) -> Iterator[Record]:
        turns = with_system(row.messages(name), row.first_text("system", "system_prompt"))
        yield Conversation(_drop_unanswered(turns), **row.place.origin())

    return build


def question_and_answer(system: str, prompt: str, reply: str, *, context: str = "") -> Builder:
    """Return a builder for rows with one question and one answer, in the fields of these names."""

    def build(row: Fields) -> Iterator[Record]:
        material = row.text(context, default="").strip() if context else ""
        user = Message("user", row.text(prompt), material)
        turns = with_system((user,), row.text(system, default=""))
        yield Conversation((*turns, Message("assistant", row.text(reply))), **row.place.origin())

    return build


alpaca = question_and_answer("system", "instruction", "output", context="input")


def prompt_completion(row: Fields) -> Iterator[Record]:
    """Read a prompt and its completion, each a text or messages."""
    turns = with_system(row.messages("prompt"), row.text("system", default=""))
    yield Conversation(turns + row.answer("completion"), **row.place.origin())


def seed_tasks(row: Fields) -> Iterator[Record]:
    """Read a Self-Instruct task: one conversation for each of its instances."""
    instances = row.objects("instances", "input", "output")
    instruction = row.text("instruction")
    group = row.place.own_group
    for instance in instances:
        user = Message("user", instruction, instance.text("input", default="").strip())
        reply = Message("assistant", instance.text("output"))
        yield Conversation((user, reply), **{**row.place.origin(), "group": group})


def plain_text(name: str) -> Builder:
    """Return a builder for rows with plain text in the field `name`."""

    def build(row: Fields) -> Iterator[Record]:
        yield Text(row.text(name), **row.place.origin())

    return build


def guanaco(row: Fields) -> Iterator[Record]:
    """Read a Guanaco transcript."""
    turns = split_transcript(row.text("text"), row.place, human="### Human:", assistant="### Assistant:")
    yield Conversation(_drop_unanswered(turns), **row.place.origin())


def is_guanaco(values: Values) -> bool:
    """Return whether a row is a Guanaco transcript; one that says `"format": "text"` is plain text."""
    text = values.get("text")
    if values.get("format") == "text":
        return False
    return isinstance(text, str) and text.lstrip().startswith("### Human:") and "### Assistant:" in text


def is_dolphin(values: Values) -> bool:
    """Return whether an Alpaca row has a system message as its instruction and the question as its input."""
    instruction, question = values.get("instruction"), values.get("input")
    return (
        has_fields("instruction", "input", "output")(values)
        and isinstance(instruction, str)
        and isinstance(question, str)
        and bool(question.strip())
        and instruction.startswith("You are a")
    )


def _drop_unanswered(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """Drop a last message of the user that has no answer."""
    return turns[:-1] if len(turns) > 1 and turns[-1].role == "user" else turns

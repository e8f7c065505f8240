"""Formats of conversations and plain text: which rows have them, and the records each row becomes."""

from collections.abc import Iterator

from finetune.data.records import Conversation, Record, Text
from finetune.data.sources.fields import Fields, Values, has_fields
from finetune.data.sources.rendered import read_conversation
from finetune.data.sources.row_format import Builder
from finetune.data.sources.transcripts import split_transcript
from finetune.errors import InvalidRecord
from finetune.templates.messages import Message


def chat(name: str) -> Builder:
    """Return a builder for rows with a list of messages in the field `name`."""

    def build(row: Fields) -> Iterator[Record]:
        turns = row.opened(_drop_unanswered(row.turns(name)))
        yield Conversation(turns, **row.place.origin())

    return build


def question_and_answer(system: str, prompt: str, reply: str, *, context: str = "") -> Builder:
    """Return a builder for rows with one question and one answer, in the fields of these names."""

    def build(row: Fields) -> Iterator[Record]:
        material = row.text(context, default="").strip() if context else ""
        question = row.prompt(prompt, context=material)
        answer = row.text_answer(reply, rendered=question[-1].content != row.values[prompt])
        answer = answer[count_repeated(question, answer) :]
        yield Conversation((*row.opened(question, system=system), *answer), **row.place.origin())

    return build


alpaca = question_and_answer("", "instruction", "output", context="input")


def prompt_completion(row: Fields) -> Iterator[Record]:
    """Read a prompt and its completion, each a text or messages."""
    prompt = row.messages("prompt")
    completion = row.answer("completion", rendered=prompt[-1:] != (Message("user", str(row.values["prompt"])),))
    shared = count_repeated(prompt, completion)
    yield Conversation(row.opened(prompt) + completion[shared:], **row.place.origin())


def count_repeated(prompt: tuple[Message, ...], answer: tuple[Message, ...]) -> int:
    """Return how many messages of a prompt a whole conversation repeats: all of them, or 0."""
    body = prompt[1:] if prompt and prompt[0].role == "system" else prompt
    for given in (prompt, body):
        if given and len(answer) > len(given) and answer[: len(given)] == given:
            return len(given)
    return 0


def seed_tasks(row: Fields) -> Iterator[Record]:
    """Read a Self-Instruct task: one conversation for each of its instances."""
    instances = row.objects("instances", "input", "output")
    instruction = row.text("instruction")
    group = row.place.own_group
    for instance in instances:
        user = Message("user", instruction, instance.text("input", default="").strip())
        reply = Message("assistant", instance.text("output"))
        yield Conversation((*row.opened((user,)), reply), **{**row.place.origin(), "group": group})


def plain_text(name: str) -> Builder:
    """Return a builder for rows with text in the field `name`: a rendered conversation, or plain text.

    A row that says `"format": "text"` is plain text.
    """

    def build(row: Fields) -> Iterator[Record]:
        text = row.text(name)
        turns = () if row.values.get("format") == "text" else read_conversation(text)
        origin = row.place.origin()
        yield Conversation(row.opened(turns), **origin) if turns else Text(text, **origin)

    return build


def guanaco(row: Fields) -> Iterator[Record]:
    """Read a Guanaco transcript."""
    text = row.text("text")
    turns = read_conversation(text) or split_transcript(text, row.place, human="### Human:", assistant="### Assistant:")
    yield Conversation(row.opened(_drop_unanswered(turns)), **row.place.origin())


def is_rendered(values: Values) -> bool:
    """Return whether the text of a row is a rendered conversation; one that says `"format": "text"` is plain text."""
    text = values.get("text")
    if values.get("format") == "text" or not isinstance(text, str):
        return False
    try:
        return bool(read_conversation(text))
    except InvalidRecord:
        return True


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

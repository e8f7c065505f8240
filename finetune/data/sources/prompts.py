"""The prompt of a preference row, under the names that public data sets give it."""

from finetune.data.sources.fields import Fields, Values
from finetune.data.sources.meanings import refuse_unhonored
from finetune.data.sources.transcripts import ASSISTANT, merge_turns, split_transcript
from finetune.errors import NotHonored
from finetune.templates.messages import Message

PROMPT_FIELDS = ("prompt", "question", "instruction", "input", "conversations", "messages", "history")


def has_prompt(values: Values) -> bool:
    """Return whether one of the prompt fields is not empty."""
    return any(values.get(name) for name in PROMPT_FIELDS)


def find_prompt(row: Fields) -> tuple[Message, ...]:
    """Return the first prompt in a row; an `input` beside an `instruction` is its context.

    Raises MalformedRow without one.
    """
    name = prompt_field(row)
    turns = read_prompt(row, name)
    context = row.values.get("input")
    if name in ("prompt", "question", "instruction") and isinstance(context, str) and context.strip():
        if len(turns) > 1:
            raise NotHonored(f"`{name}` holds whole turns, and beside it is a context in `input`")
        return (Message("user", turns[0].content, context.strip()),)
    return turns


def prompt_field(row: Fields) -> str:
    """Return the name of the first prompt field that is not empty, `prompt` without one."""
    return next((name for name in PROMPT_FIELDS if row.values.get(name)), "prompt")


def is_rendered_prompt(row: Fields, turns: tuple[Message, ...]) -> bool:
    """Return whether these turns of the prompt field were read back from a text with a template's marks."""
    text = row.values.get(prompt_field(row))
    return isinstance(text, str) and bool(turns) and turns[-1].content != text


def read_prompt(row: Fields, name: str) -> tuple[Message, ...]:
    """Read a prompt: messages, text, a transcript that ends at the answer, or an object with `messages`."""
    value = row.values.get(name)
    if isinstance(value, dict) and isinstance(value.get("messages"), list):
        refuse_unhonored(value)
        return row.nested(value).messages("messages")
    if isinstance(value, str) and value.lstrip().startswith("Human:") and value.rstrip().endswith(ASSISTANT):
        return merge_turns(split_transcript(value.rstrip(), row.place)[:-1])
    return row.messages(name)

"""The prompt of a preference row, under the names that public data sets give it."""

from finetune.data.sources.fields import Fields, Values
from finetune.data.sources.transcripts import ASSISTANT, merge_turns, split_transcript
from finetune.templates.messages import Message

_PROMPT_FIELDS = ("prompt", "question", "instruction", "input", "conversations", "messages", "history")


def has_prompt(values: Values) -> bool:
    """Return whether one of the prompt fields is not empty."""
    return any(values.get(name) for name in _PROMPT_FIELDS)


def find_prompt(row: Fields) -> tuple[Message, ...]:
    """Return the first prompt in a row; an `input` beside an `instruction` is its context.

    Raises MalformedRow without one.
    """
    name = next((name for name in _PROMPT_FIELDS if row.values.get(name)), "prompt")
    turns = read_prompt(row, name)
    context = row.values.get("input")
    if name == "instruction" and isinstance(context, str) and context.strip():
        return (Message("user", turns[0].content, context.strip()),)
    return turns


def read_prompt(row: Fields, name: str) -> tuple[Message, ...]:
    """Read a prompt: messages, text, a transcript that ends at the answer, or an object with `messages`."""
    value = row.values.get(name)
    if isinstance(value, dict):
        return row.nested(value).messages("messages")
    if isinstance(value, str) and value.lstrip().startswith("Human:") and value.rstrip().endswith(ASSISTANT):
        return merge_turns(split_transcript(value.rstrip(), row.place)[:-1])
    return row.messages(name)

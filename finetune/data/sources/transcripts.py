"""Transcripts: whole conversations in one text, divided by the names of the speakers."""

from finetune.data.sources.fields import Place
from finetune.templates.messages import Message

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"


def split_transcript(text: str, place: Place, *, human: str = HUMAN, assistant: str = ASSISTANT) -> tuple[Message, ...]:
    """Split a transcript at its speakers' names; raises MalformedRow if it does not begin with `human`."""
    turns: list[Message] = []
    marks = ((human, "user"), (assistant, "assistant"))
    position = 0
    if not any(text.startswith(mark) for mark, _ in marks):
        text = "\n\n" + text.lstrip() if human.startswith("\n") else text.lstrip()
    if not text.startswith(human):
        raise place.error(f"a transcript begins with {human.strip()!r}, found {text[:30]!r}")
    while position < len(text):
        mark, role = next((m, r) for m, r in marks if text.startswith(m, position))
        start = position + len(mark)
        ends = [end for m, _ in marks if (end := text.find(m, start)) >= 0]
        position = min(ends, default=len(text))
        turns.append(Message(role, text[start:position].strip()))
    return tuple(turns)


def merge_turns(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """Join consecutive turns of the same speaker."""
    merged: list[Message] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            merged[-1] = Message(turn.role, f"{merged[-1].content}\n\n{turn.content}".strip())
        else:
            merged.append(turn)
    return tuple(merged)

"""Fits instructions, evidence, history and question into a model's window; what did not fit is pluralize and said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from assistant.answering.prompt import Message, passage_text, question_message, system_message
from assistant.answering.sentences import units
from assistant.errors import PromptTooLong
from assistant.llm.tokens import Count
from assistant.retrieval.search import Passage
from quire import pluralize

PER_MESSAGE = 8  # tokens a chat template puts around one message: ChatML 5, the longest common one 7
PER_PROMPT = 16  # begin of text and the opening of the answer


@dataclass(frozen=True)
class Packed:
    """A prompt that fits: `passages` are those in it, number n of the prompt being passages[n - 1]."""

    messages: tuple[Message, ...]
    passages: tuple[Passage, ...]
    prompt_tokens: int  # as pluralize here, on the safe side
    evidence_tokens: int
    dropped_passages: int
    dropped_turns: int
    notices: tuple[str, ...]


def answer_room(window: int, max_tokens: int) -> int:
    """Return the tokens kept free for the answer: what was asked for, but never more than half the window."""
    return min(max_tokens, window // 2)


def pack(
    question: str,
    passages: Sequence[Passage],
    *,
    count: Count,
    window: int,
    max_tokens: int,
    history: Sequence[tuple[str, str]] = (),
    own_system: str = "",
    evidence_share: float = 0.7,
    documents: bool = True,
) -> Packed:
    """Return the messages to send; `history` is (question, answer), oldest first.

    Passages go in by rank until their share is full; then history, newest first. The system message and the question
    are always there whole: PromptTooLong is raised where they alone do not fit.
    """
    system = system_message(own_system, documents=documents)
    bare = [*([system] if system else []), _asked(question, (), documents)]
    room = window - answer_room(window, max_tokens) - count_messages(bare, count)
    if room < 0:
        raise PromptTooLong(
            f"the question and the instructions need {window - room} tokens of a window of {window}, answer included",
            "shorten the question or the system prompt, lower max_tokens, or choose a model with a larger window",
        )
    evidence_room = int(room * evidence_share) if history else room
    packed, evidence_tokens, dropped = _pack_passages(distinct(passages), count, evidence_room)
    turns, history_tokens = _pack_history(history, count, room - evidence_tokens)
    dropped_turns = len(history) - len(turns)
    messages = [
        *([system] if system else []),
        *(message for asked, said in turns for message in (Message("user", asked), Message("assistant", said))),
        _asked(question, packed, documents),
    ]
    notices = []
    if dropped:
        notices.append(
            f"{dropped} of {pluralize(dropped + len(packed), 'passage')} did not fit the model's window "
            f"and {'was' if dropped == 1 else 'were'} left out."
        )
    if dropped_turns:
        notices.append(f"{dropped_turns} earlier turns did not fit the model's window and were left out.")
    return Packed(
        messages=tuple(messages),
        passages=tuple(packed),
        prompt_tokens=window - answer_room(window, max_tokens) - room + evidence_tokens + history_tokens,
        evidence_tokens=evidence_tokens,
        dropped_passages=dropped,
        dropped_turns=dropped_turns,
        notices=tuple(notices),
    )


def count_messages(messages: Sequence[Message], count: Count) -> int:
    """Return the tokens of messages with what a chat template adds to them."""
    return PER_PROMPT + sum(PER_MESSAGE + count(message.content) for message in messages)


def distinct(passages: Sequence[Passage]) -> list[Passage]:
    """Return the passages without those whose words stand in an earlier one already."""
    kept: list[Passage] = []
    seen: list[str] = []
    for passage in passages:
        text = re.sub(r"\s+", " ", passage.text).strip().lower()
        if text and not any(text in other for other in seen):
            kept.append(passage)
            seen.append(text)
    return kept


def _asked(question: str, passages: Sequence[Passage], documents: bool) -> Message:
    return question_message(question, passages) if documents else Message("user", question)


def _pack_passages(passages: Sequence[Passage], count: Count, room: int) -> tuple[list[Passage], int, int]:
    packed: list[Passage] = []
    used = 0
    for passage in passages:
        cost = count(passage_text(len(packed) + 1, passage)) + 2  # the blank line between two passages
        if used + cost <= room:
            packed.append(passage)
            used += cost
        elif not packed:
            cut = _cut(passage, count, room)  # a small window still gets the beginning of the best passage
            if cut is not None:
                packed.append(cut)
                used += count(passage_text(1, cut)) + 2
    return packed, used, len(passages) - len(packed)


def _cut(passage: Passage, count: Count, room: int) -> Passage | None:
    for unit in reversed(units(passage.text)):
        shorter = replace(passage, text=passage.text[: unit.end], end=passage.start + unit.end)
        if count(passage_text(1, shorter)) + 2 <= room:
            return shorter
    return None


def _pack_history(history: Sequence[tuple[str, str]], count: Count, room: int) -> tuple[list[tuple[str, str]], int]:
    turns: list[tuple[str, str]] = []
    used = 0
    for asked, said in reversed(history):
        cost = 2 * PER_MESSAGE + count(asked) + count(said)
        if used + cost > room:
            break
        turns.insert(0, (asked, said))
        used += cost
    return turns, used

"""Packs instructions, passages, history and question into a model's context window."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from assistant.answering.control_marks import disarm
from assistant.answering.prompt import Message, passage_text, question_message, system_message
from assistant.errors import PromptTooLong
from assistant.llm.tokens import Count
from assistant.retrieval.search import Passage
from ingest import split_sentences
from quire import pluralize

PER_MESSAGE = 8  # tokens that a chat template adds to one message: ChatML 5, the longest common one 7
PER_PROMPT = 16  # tokens for the beginning of the text and of the answer


@dataclass(frozen=True)
class Packed:
    """A prompt that fits the window; `passages` are those in it, and number n of the prompt is `passages[n - 1]`."""

    messages: tuple[Message, ...]
    passages: tuple[Passage, ...]
    prompt_tokens: int  # counted or estimated by the model's `count`
    evidence_tokens: int
    dropped_passages: int
    dropped_turns: int
    notices: tuple[str, ...]


def answer_room(window: int, max_tokens: int) -> int:
    """Return the tokens reserved for the answer: `max_tokens`, but at most half of the window."""
    return min(max_tokens, window // 2)


def pack(
    question: str,
    passages: Sequence[Passage],
    *,
    count: Count,
    window: int,
    max_tokens: int,
    history: Sequence[tuple[str, str]] = (),
    system_prompt: str = "",
    evidence_share: float = 0.7,
    documents: bool = True,
) -> Packed:
    """Return the messages to send; `history` is (question, answer), oldest first.

    Passages are added by rank until their share of the room is full, then history, newest first. The system message
    and the question are never shortened: PromptTooLong is raised if they alone do not fit.
    """
    system = system_message(system_prompt, documents=documents)
    fixed = [*([system] if system else []), _question_message(question, (), documents)]
    room = window - answer_room(window, max_tokens) - count_messages(fixed, count)
    if room < 0:
        raise PromptTooLong(
            f"question, instructions and answer need {window - room} tokens, and the window has {window}",
            "shorten the question or the system prompt, lower max_tokens, or choose a model with a larger window",
        )
    evidence_room = int(room * evidence_share) if history else room
    packed, evidence_tokens, dropped = _pack_passages(distinct(passages), count, evidence_room)
    turns, history_tokens = _pack_history(history, count, room - evidence_tokens)
    dropped_turns = len(history) - len(turns)
    messages = [
        *([system] if system else []),
        *(message for asked, answer in turns for message in (Message("user", asked), Message("assistant", answer))),
        _question_message(question, packed, documents),
    ]
    return Packed(
        messages=tuple(messages),
        passages=tuple(packed),
        prompt_tokens=window - answer_room(window, max_tokens) - room + evidence_tokens + history_tokens,
        evidence_tokens=evidence_tokens,
        dropped_passages=dropped,
        dropped_turns=dropped_turns,
        notices=tuple(_notices(dropped, dropped + len(packed), dropped_turns)),
    )


def count_messages(messages: Sequence[Message], count: Count) -> int:
    """Return the tokens of messages, with those that a chat template adds."""
    return PER_PROMPT + sum(PER_MESSAGE + count(message.content) for message in messages)


def distinct(passages: Sequence[Passage]) -> list[Passage]:
    """Return the passages without those whose text is part of an earlier one."""
    kept: list[Passage] = []
    seen: list[str] = []
    for passage in passages:
        text = re.sub(r"\s+", " ", passage.text).strip().lower()
        if text and not any(text in other for other in seen):
            kept.append(passage)
            seen.append(text)
    return kept


def _question_message(question: str, passages: Sequence[Passage], documents: bool) -> Message:
    return question_message(question, passages) if documents else Message("user", disarm(question))


def _notices(dropped: int, passages: int, dropped_turns: int) -> Iterator[str]:
    if dropped:
        verb = "was" if dropped == 1 else "were"
        yield f"{dropped} of {pluralize(passages, 'passage')} did not fit the model's window and {verb} dropped."
    if dropped_turns:
        verb = "was" if dropped_turns == 1 else "were"
        yield f"{pluralize(dropped_turns, 'earlier turn')} did not fit the model's window and {verb} dropped."


def _pack_passages(passages: Sequence[Passage], count: Count, room: int) -> tuple[list[Passage], int, int]:
    packed: list[Passage] = []
    used = 0
    for passage in passages:
        cost = count(passage_text(len(packed) + 1, passage)) + 2  # the blank line between two passages
        if used + cost <= room:
            packed.append(replace(passage, rank=len(packed) + 1))
            used += cost
        elif not packed:
            truncated = _truncate(passage, count, room)  # a small window gets the beginning of the best passage
            if truncated is not None:
                packed.append(replace(truncated, rank=1))
                used += count(passage_text(1, truncated)) + 2
    return packed, used, len(passages) - len(packed)


def _truncate(passage: Passage, count: Count, room: int) -> Passage | None:
    for sentence in reversed(split_sentences(passage.text)):
        shorter = replace(passage, text=passage.text[: sentence.end], end=passage.start + sentence.end)
        if count(passage_text(1, shorter)) + 2 <= room:
            return shorter
    return None


def _pack_history(history: Sequence[tuple[str, str]], count: Count, room: int) -> tuple[list[tuple[str, str]], int]:
    turns: list[tuple[str, str]] = []
    used = 0
    for asked, answer in reversed([(disarm(asked), disarm(answer)) for asked, answer in history]):
        cost = 2 * PER_MESSAGE + count(asked) + count(answer)
        if used + cost > room:
            break
        turns.insert(0, (asked, answer))
        used += cost
    return turns, used

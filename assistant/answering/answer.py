"""An answer with its citations, and the events that a caller receives while it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from assistant.answering.citations import Citation, Span
from assistant.answering.prompt import Message
from assistant.config import Sampling
from assistant.retrieval.search import Passage


@dataclass(frozen=True)
class Usage:
    """What one answer cost."""

    prompt_tokens: int = 0  # as the server counts, or the budget's count if the server reports none
    evidence_tokens: int = 0
    answer_tokens: int = 0
    dropped_passages: int = 0
    dropped_turns: int = 0
    seconds: float = 0.0
    first_token_seconds: float | None = None  # from the question to the first text shown
    own_seconds: float | None = None  # from the question to the call of the model


@dataclass(frozen=True)
class Answer:
    """One answer with its evidence: citation [n] refers to `passages[n - 1]`."""

    question: str
    text: str
    refused: bool
    mode: str  # "model", "quotes", or "chat" if no documents were used
    model: str
    citations: tuple[Citation, ...] = ()
    passages: tuple[Passage, ...] = ()
    notices: tuple[str, ...] = ()
    usage: Usage = Usage()
    unsupported: tuple[Span, ...] = ()  # sentences of `text` that no passage supports
    quotes: tuple[Citation, ...] = ()  # the best of the passages, where an amount, a date or a name is unsupported
    invented: tuple[int, ...] = ()  # cited numbers that no passage has; they are removed from `text`
    interrupted: str = ""  # why the answer broke off; empty if it is complete
    asked: str = ""  # the question that was searched for: a follow-up is rewritten to stand alone
    messages: tuple[Message, ...] = ()  # as sent to the model
    sampling: Sampling | None = None
    raw: str = field(default="", compare=False)  # as the model wrote it, before the filter; not stored

    def as_dict(self) -> dict[str, Any]:
        """Return the object that `quire ask --json` prints."""
        return {
            "question": self.question,
            "answer": self.text,
            "refused": self.refused,
            "mode": self.mode,
            "model": self.model,
            "citations": [citation.as_dict() for citation in self.citations],
            "passages": [passage.as_dict() for passage in self.passages],
            "notices": list(self.notices),
            "usage": dict(vars(self.usage)),
            "unsupported": [span.as_dict() for span in self.unsupported],
            "quotes": [quote.as_dict() for quote in self.quotes],
            "invented": list(self.invented),
            "interrupted": self.interrupted,
            "asked": self.asked or self.question,
        }


@dataclass(frozen=True)
class Found:
    """The passages that the answer may use; the first event after notices about the model."""

    passages: tuple[Passage, ...]


@dataclass(frozen=True)
class Token:
    """The next piece of the answer's text, filtered."""

    text: str


@dataclass(frozen=True)
class Notice:
    """Something that a person should know about this answer."""

    text: str


@dataclass(frozen=True)
class Done:
    """The complete answer; the last event."""

    answer: Answer


Event = Found | Token | Notice | Done

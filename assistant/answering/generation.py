"""Runs the model on a prompt in a thread, and returns what it wrote, filtered, with its own counts."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assistant.answering.answer import Token
from assistant.answering.answer_filter import AnswerFilter
from assistant.answering.citations import Citation
from assistant.answering.prompt import Message
from assistant.config import Sampling
from assistant.errors import AssistantError, ModelInterrupted
from assistant.retrieval.search import Passage
from quire import QuireError

if TYPE_CHECKING:
    from assistant.llm.model import Model

_POLL_SECONDS = 0.05  # how soon a cancel is noticed while the model is silent


@dataclass(frozen=True)
class Written:
    """The text of an answer, and how it came about."""

    text: str
    passages: tuple[Passage, ...]  # all that it may cite, those found with tools included
    citations: tuple[Citation, ...] = ()  # of quotes; those of a model are looked for in its text
    invented: tuple[int, ...] = ()  # cited numbers that no passage has
    interrupted: str = ""  # why the text broke off; empty if it is complete
    reached_limit: bool = False  # it is as long as max_tokens allows
    prompt_tokens: int = 0  # as the server counts; 0 if it reports none
    answer_tokens: int = 0
    first_token_at: float | None = None  # on the monotonic clock
    raw: str = ""  # what the model wrote, before any of it was removed


def write_answer(reply: Reply, passages: Sequence[Passage], cancel: threading.Event) -> Generator[Token, None, Written]:
    """Yield the filtered text of a reply as it is written, and return it whole.

    `passages` may grow meanwhile: tools add to it. Raises the model's error if there is no text yet; an error in the
    middle of the text ends it.
    """
    answer_filter = AnswerFilter(len(passages))
    pieces: list[str] = []
    raw: list[str] = []
    first_token_at = None
    interrupted = ""
    try:
        for text in reply.texts(cancel):
            raw.append(text)
            answer_filter.prompted = len(passages)
            shown = answer_filter.feed(text)
            shown = shown if pieces else shown.lstrip()  # some chat templates leave a space before the answer
            if shown:
                first_token_at = first_token_at or time.monotonic()
                pieces.append(shown)
                yield Token(shown)
    except QuireError as exc:
        if not pieces:
            raise
        interrupted = str(exc)
    if cancel.is_set() and not interrupted:
        interrupted = "stopped"
    if reply.ended_silently and not interrupted:
        interrupted = "the server ended the answer without a finish reason"
    rest = answer_filter.close()
    if rest and interrupted != "stopped":
        pieces.append(rest)
        yield Token(rest)
    return Written(
        text="".join(pieces).strip(),
        passages=tuple(passages),
        invented=tuple(answer_filter.invented),
        interrupted=interrupted,
        reached_limit=reply.finish_reason == "length",
        prompt_tokens=reply.prompt_tokens,
        answer_tokens=reply.answer_tokens,
        first_token_at=first_token_at,
        raw="".join(raw),
    )


class Reply:
    """One reply of a model, generated in a thread so that the caller can stop reading at any time."""

    def __init__(
        self,
        model: Model,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        tools: list[Any] | None = None,
        tool_calls: int = 0,
    ) -> None:
        self.prompt_tokens = 0  # as the server counts; with tools, those of the longest call
        self.answer_tokens = 0
        self.finish_reason = ""
        self._model, self._messages, self._tools, self._tool_calls = model, messages, tools, tool_calls
        self._chat = model.build(sampling)
        self._parts: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._left = threading.Event()  # nobody reads any more, or everything was read
        self._begun = False

    @property
    def ended_silently(self) -> bool:
        """Whether the reply lacks the finish reason that this kind of model reports.

        Ollama ends a stream without its last line when a model repeats one token 30 times.
        """
        return self._model.reports_finish_reason and not self.finish_reason

    def texts(self, cancel: threading.Event) -> Iterator[str]:
        """Yield the pieces of text as the model writes them; raises AssistantError if it fails."""
        threading.Thread(target=self._run, daemon=True).start()
        try:
            while not cancel.is_set():
                try:
                    part = self._parts.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    continue
                if part is None:
                    self._left.set()
                    return
                if isinstance(part, BaseException):
                    raise self._explained(part)
                yield from self._text(part)
        finally:
            if not self._left.is_set():  # cancelled, failed, or no longer read: otherwise the server would go on
                self._left.set()
                self._model.abort(self._chat)

    def _run(self) -> None:
        from assistant.answering.agent_graph import stream_messages

        try:
            for part in stream_messages(self._chat, self._messages, tools=self._tools, tool_calls=self._tool_calls):
                if self._left.is_set():
                    break
                self._parts.put(part)
            self._parts.put(None)
        except BaseException as exc:  # raised again in the thread that reads
            self._parts.put(exc)

    def _text(self, part: Any) -> Iterator[str]:
        usage = getattr(part, "usage_metadata", None)
        if usage:
            # with tools, every call sends the prompt again, and the longest is the one that must fit
            self.prompt_tokens = max(self.prompt_tokens, int(usage["input_tokens"]))
            self.answer_tokens += int(usage["output_tokens"])
        metadata: Mapping[str, Any] = getattr(part, "response_metadata", {}) or {}
        self.finish_reason = str(metadata.get("done_reason") or metadata.get("finish_reason") or self.finish_reason)
        if part.text:
            self._begun = True
            yield str(part.text)

    def _explained(self, exc: BaseException) -> BaseException:
        if isinstance(exc, AssistantError) or not isinstance(exc, Exception):
            return exc
        explained = self._model.explain(exc)
        if explained is None and self._begun:
            explained = ModelInterrupted(f"{self._model.name} failed: {type(exc).__name__}: {exc}", "ask again")
        if explained is None:
            return exc
        explained.__cause__ = exc
        return explained

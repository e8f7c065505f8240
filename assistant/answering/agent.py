"""Answers a question from a library: look up, budget, generate, filter, cite; it stores nothing and prints nothing."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from assistant.answering import followup
from assistant.answering.budget import Packed, answer_room, pack
from assistant.answering.citations import AnswerFilter, Citation, Span, cite
from assistant.answering.prompt import REFUSAL, Message, is_refusal
from assistant.answering.quotes import EXCERPTS, Quote, line, pick
from assistant.config import AssistantConfig, Sampling
from assistant.errors import AssistantError, ModelError, ModelInterrupted
from assistant.retrieval.ranking import share, word_forms, words_of
from assistant.retrieval.search import Passage, QueryEmbedder, search
from quire import QuireError, pluralize

if TYPE_CHECKING:
    from assistant.llm.model import Model
    from ingest import Store

NO_DOCUMENTS = "No documents are asked: this is the model alone, and nothing it says is checked."
_ALONGSIDE = 0.5  # share of the threshold that further passages must reach once one has passed it: with the whole
# threshold for each, 5 of 59 evidence pages that were found never reached the prompt
_OWN_WORDS = (
    0.5  # share of a follow-up's own words that a passage must hold, else the follow-up is looked up alone: of 22
)
# follow-ups to a 10-K all 7 on something else are refused, and 2 of the others, which are refused without a history too
_TEMPLATE_TOKENS = 50  # the budget's allowance for a chat template, which a server may not use
_POLL_SECONDS = 0.05  # how soon a cancel is seen while the model is silent


@dataclass(frozen=True)
class Usage:
    """What one answer took."""

    prompt_tokens: int = 0  # as the server pluralize, else as the budget did
    evidence_tokens: int = 0
    answer_tokens: int = 0
    dropped_passages: int = 0
    dropped_turns: int = 0
    seconds: float = 0.0
    first_token_seconds: float | None = None  # from the question to the first shown token
    own_seconds: float | None = None  # the part of it before the model was called


@dataclass(frozen=True)
class Answer:
    """One answer with everything it stands on: `passages[n - 1]` is what [n] points at."""

    question: str
    text: str
    refused: bool
    mode: str  # "model", "quotes", or "chat" where no documents were asked
    model: str
    citations: tuple[Citation, ...] = ()
    passages: tuple[Passage, ...] = ()
    notices: tuple[str, ...] = ()
    usage: Usage = Usage()
    unsupported: tuple[Span, ...] = ()  # sentences of `text` that no passage supports
    invented: tuple[int, ...] = ()  # numbers that were cited and not prompted; none of them is in `text`
    interrupted: str = ""  # why the answer broke off, "" where it did not
    asked: str = ""  # the question as it was looked up, after condensing
    messages: tuple[Message, ...] = ()  # as sent
    sampling: Sampling | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what `quire ask --json` prints."""
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
            "invented": list(self.invented),
            "interrupted": self.interrupted,
            "asked": self.asked or self.question,
        }


@dataclass(frozen=True)
class Found:
    """The passages that the answer may use; comes first."""

    passages: tuple[Passage, ...]


@dataclass(frozen=True)
class Token:
    """The next piece of the answer, safe to show."""

    text: str


@dataclass(frozen=True)
class Notice:
    """Something a person should know about this answer."""

    text: str


@dataclass(frozen=True)
class Done:
    """The whole answer; comes last."""

    answer: Answer


Event = Found | Token | Notice | Done


@dataclass
class _Draft:
    """An answer on its way."""

    question: str
    mode: str
    started: float
    sampling: Sampling
    asked: str = ""
    notices: list[str] = field(default_factory=list)
    passages: list[Passage] = field(default_factory=list)
    packed: Packed | None = None
    quotes: list[Quote] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    invented: list[int] = field(default_factory=list)
    interrupted: str = ""
    called: float | None = None
    first: float | None = None
    prompt_tokens: int = 0
    answer_tokens: int = 0
    end: str = ""  # why the model stopped, as it says itself


class Agent:
    """A library and a model that answer together; safe to use from several threads."""

    def __init__(
        self, config: AssistantConfig, model: Model, store: Store | None = None, embedder: QueryEmbedder | None = None
    ) -> None:
        self.config = config
        self.model = model
        self.store = store
        self.embedder = embedder

    def ask(self, question: str, **options: Any) -> Answer:
        """Return the answer to a question; the options are those of `stream`."""
        for event in self.stream(question, **options):
            if isinstance(event, Done):
                return event.answer
        raise ModelError("the answer ended without a result", "this is a bug: please report it")

    def stream(
        self,
        question: str,
        *,
        documents: Sequence[str] | None = None,
        k: int | None = None,
        history: Sequence[Answer] = (),
        sampling: Sampling | None = None,
        use_documents: bool = True,
        tools: bool | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[Event]:
        """Yield Found, then Token and Notice events, then Done.

        `documents` are ids, None means all; `history` are earlier answers, oldest first. Setting `cancel` ends
        generation at once, also before the first token; what had come is kept in the answer.
        """
        draft = _Draft(
            question=question,
            mode=("quotes" if self._quotes else "model") if use_documents else "chat",
            started=time.monotonic(),
            sampling=sampling or self.config.sampling,
            notices=list(self.model.notices),
        )
        cancel = cancel or threading.Event()
        for notice in draft.notices:
            yield Notice(notice)
        evidence: list[Passage] = []
        if use_documents:
            evidence = self._evidence(draft, question, documents, k or self.config.passages, history, cancel)
            if not evidence:
                yield Found(())
                yield Token(REFUSAL)
                yield Done(self._refused(draft))
                return
        yield from self._answer(draft, evidence, history, cancel, documents, use_documents, tools)
        yield Done(self._finished(draft, use_documents))

    async def aask(self, question: str, **options: Any) -> Answer:
        """Return the answer to a question without blocking the event loop."""
        async for event in self.astream(question, **options):
            if isinstance(event, Done):
                return event.answer
        raise ModelError("the answer ended without a result", "this is a bug: please report it")

    async def astream(self, question: str, **options: Any) -> AsyncIterator[Event]:
        """Yield the events of `stream` without blocking the event loop; leaving the loop ends generation."""
        cancel = options.setdefault("cancel", threading.Event()) or threading.Event()
        options["cancel"] = cancel
        events = self.stream(question, **options)
        try:
            while (event := await asyncio.to_thread(next, events, None)) is not None:
                yield event
        finally:
            cancel.set()

    def batch(self, questions: Sequence[str], *, workers: int = 1, **options: Any) -> list[Answer]:
        """Return the answers to several questions, in their order; `workers` are asked at once."""
        with ThreadPoolExecutor(max_workers=workers) as pool:
            return list(pool.map(lambda question: self.ask(question, **options), questions))

    def warm_up(self) -> None:
        """Import what the first answer needs, which takes seconds; nothing is sent to the model."""
        if not self._quotes:
            import assistant.answering.graph  # noqa: F401

            self.model.build(self.config.sampling)

    # looking up

    @property
    def _quotes(self) -> bool:
        return self.model.name == "quotes"

    def _evidence(
        self,
        draft: _Draft,
        question: str,
        documents: Sequence[str] | None,
        k: int,
        history: Sequence[Answer],
        cancel: threading.Event,
    ) -> list[Passage]:
        draft.asked = self._standalone(question, history, cancel)
        found = self._search(draft.asked, k, documents)
        passes = any(passage.score >= self.config.threshold for passage in found)
        evidence = [p for p in found if passes and p.score >= _ALONGSIDE * self.config.threshold]
        if self._quotes and draft.asked != question and not self._says_of(question, found, k, documents):
            return []
        if history and (evidence or followup.is_elliptical(question)):
            kept = followup.evidence_at_hand(history[-1].passages, [c.number for c in history[-1].citations])
            allowed = None if documents is None else set(documents)
            there = {(p.document_id, p.page) for p in evidence}
            evidence += [
                p
                for p in kept
                if (p.document_id, p.page) not in there and (allowed is None or p.document_id in allowed)
            ]
        return evidence

    def _says_of(self, question: str, found: Sequence[Passage], k: int, documents: Sequence[str] | None) -> bool:
        """Say whether the documents hold what a follow-up adds; the words it is joined with always find something.

        A model reads the passages and can refuse; quotes would show passages for the question before.
        """
        asked = word_forms(followup.own_part(question))
        if not asked or any(share(asked, words_of(p.text)) >= _OWN_WORDS for p in found):
            return True
        return any(p.score >= self.config.threshold for p in self._search(question, k, documents))

    def _search(self, question: str, k: int, documents: Sequence[str] | None) -> list[Passage]:
        if self.store is None or self.embedder is None:
            raise AssistantError("this agent has no library", "give it a store and an embedder, or use_documents=False")
        return search(self.store, self.embedder, question, k=k, documents=documents)

    def _standalone(self, question: str, history: Sequence[Answer], cancel: threading.Event) -> str:
        turns = [(answer.question, answer.text) for answer in history]
        if not turns:
            return question
        if self._quotes:
            return followup.join(turns, question)
        return followup.condense(self.model, turns, question, cancel)

    # answering

    def _answer(
        self,
        draft: _Draft,
        evidence: Sequence[Passage],
        history: Sequence[Answer],
        cancel: threading.Event,
        documents: Sequence[str] | None,
        use_documents: bool,
        tools: bool | None,
    ) -> Iterator[Event]:
        packed = pack(
            draft.question,
            evidence,
            count=self.model.count,
            window=self.model.window,
            max_tokens=draft.sampling.max_tokens,
            history=[] if self._quotes else [(answer.question, answer.text) for answer in history],
            own_system=self.config.system_prompt,
            evidence_share=self.config.evidence_share,
            documents=use_documents,
        )
        draft.packed = packed
        draft.passages = [replace(passage, rank=n) for n, passage in enumerate(packed.passages, 1)]
        if use_documents:
            yield Found(tuple(draft.passages))
        label = {"quotes": [EXCERPTS], "chat": [NO_DOCUMENTS], "model": []}[draft.mode]
        for notice in (*packed.notices, *label):
            draft.notices.append(notice)
            yield Notice(notice)
        draft.called = time.monotonic()
        if draft.mode == "quotes":
            yield from self._quote(draft)
            return
        use_tools = self.config.tools if tools is None else tools
        if use_tools and not self.model.tools:
            notice = f"{self.model.name} cannot call tools; the passages were looked up once."
            draft.notices.append(notice)
            yield Notice(notice)
        looked_up = self._toolbox(draft, documents) if use_tools and self.model.tools and use_documents else None
        yield from self._generate(draft, looked_up, cancel)

    def _quote(self, draft: _Draft) -> Iterator[Event]:
        answer_filter = AnswerFilter(len(draft.passages))
        draft.quotes = pick(draft.asked or draft.question, draft.passages)
        for quote in draft.quotes:
            text = answer_filter.feed(line(quote)) + answer_filter.close()
            draft.first = draft.first or time.monotonic()
            draft.pieces.append(text if not draft.pieces else f"\n\n{text}")
            yield Token(draft.pieces[-1])

    def _toolbox(self, draft: _Draft, documents: Sequence[str] | None) -> list[Any]:
        from assistant.answering.toolbox import make_tools

        assert draft.packed is not None  # noqa: S101 - packed before any tool exists
        room = (
            self.model.window - answer_room(self.model.window, draft.sampling.max_tokens) - draft.packed.prompt_tokens
        )
        assert self.store is not None  # noqa: S101 - the passages were just looked up in it
        return make_tools(
            self.store,
            lambda question, k: self._search(question, k, documents),
            draft.passages,
            documents=documents,
            count=self.model.count,
            room=room,
        )

    def _generate(self, draft: _Draft, tools: list[Any] | None, cancel: threading.Event) -> Iterator[Event]:
        answer_filter = AnswerFilter(len(draft.passages))
        parts = _Generation(self, draft, tools)
        try:
            for text in parts.texts(cancel):
                answer_filter.prompted = len(draft.passages)  # tools may have found more
                shown = answer_filter.feed(text)
                shown = shown if draft.pieces else shown.lstrip()  # some templates leave a blank behind "Output:"
                if shown:
                    draft.first = draft.first or time.monotonic()
                    draft.pieces.append(shown)
                    yield Token(shown)
        except QuireError as exc:
            if not draft.pieces:
                raise
            draft.interrupted = str(exc)
        if cancel.is_set() and not draft.interrupted:
            draft.interrupted = "stopped"
        if self.model.reports_finish_reason and not draft.end and not draft.interrupted:
            # Ollama ends a stream without its last line when a model repeats one token 30 times
            draft.interrupted = "the server ended the answer without saying that it was done"
        rest = answer_filter.close()
        draft.invented = answer_filter.invented
        if rest and draft.interrupted != "stopped":
            draft.pieces.append(rest)
            yield Token(rest)
        for notice in self._afterwards(draft):
            draft.notices.append(notice)
            yield Notice(notice)

    def _afterwards(self, draft: _Draft) -> Iterator[str]:
        packed = draft.packed
        if not draft.interrupted and not "".join(draft.pieces).strip():
            yield f"{self.model.name} wrote nothing that can be shown: ask again, or choose another model."
        if draft.invented:
            verb = "was" if len(draft.invented) == 1 else "were"
            yield f"{pluralize(len(draft.invented), 'citation')} of passages that do not exist {verb} removed."
        if draft.interrupted and draft.interrupted != "stopped":
            yield f"The answer broke off and is not complete: {draft.interrupted}"
        if draft.end == "length":
            yield "The answer reached the longest length that was set (max_tokens) and is cut off."
        # an estimate lies up to twice over the truth; below that the server has cut something away
        surely = 0.9 if self.model.counts_exactly else 0.45
        if packed is not None and 0 < draft.prompt_tokens < surely * packed.prompt_tokens - _TEMPLATE_TOKENS:
            yield (
                f"The server read {draft.prompt_tokens} tokens of a prompt of about {packed.prompt_tokens}: "
                "it cut the prompt, so evidence may be missing."
            )

    # the end

    def _refused(self, draft: _Draft) -> Answer:
        return Answer(
            question=draft.question,
            text=REFUSAL,
            refused=True,
            mode=draft.mode,
            model=self.model.name,
            notices=tuple(draft.notices),
            usage=self._usage(draft),
            asked=draft.asked,
            sampling=draft.sampling,
        )

    def _finished(self, draft: _Draft, use_documents: bool) -> Answer:
        text = "".join(draft.pieces).strip()
        answer = Answer(
            question=draft.question,
            text=text,
            refused=False,
            mode=draft.mode,
            model=self.model.name,
            passages=tuple(draft.passages),
            notices=tuple(draft.notices),
            usage=self._usage(draft),
            invented=tuple(draft.invented),
            interrupted=draft.interrupted,
            asked=draft.asked,
            messages=draft.packed.messages if draft.packed else (),
            sampling=draft.sampling,
        )
        if not use_documents:
            return answer
        if draft.mode == "quotes":
            return replace(answer, citations=tuple(_quoted(draft)))
        if not draft.interrupted and is_refusal(text):
            return replace(answer, text=REFUSAL, refused=True)
        citations, unsupported = cite(text, draft.passages)
        return replace(answer, citations=tuple(citations), unsupported=tuple(unsupported))

    def _usage(self, draft: _Draft) -> Usage:
        packed = draft.packed
        return Usage(
            prompt_tokens=draft.prompt_tokens or (packed.prompt_tokens if packed and draft.mode != "quotes" else 0),
            evidence_tokens=packed.evidence_tokens if packed else 0,
            answer_tokens=draft.answer_tokens,
            dropped_passages=packed.dropped_passages if packed else 0,
            dropped_turns=packed.dropped_turns if packed else 0,
            seconds=round(time.monotonic() - draft.started, 4),
            first_token_seconds=round(draft.first - draft.started, 4) if draft.first else None,
            own_seconds=round(draft.called - draft.started, 4) if draft.called else None,
        )


class _Generation:
    """One run of the model in a thread of its own, so that it can be left at any moment."""

    def __init__(self, agent: Agent, draft: _Draft, tools: list[Any] | None) -> None:
        self.agent, self.draft, self.tools = agent, draft, tools
        self.chat = agent.model.build(draft.sampling)
        self.parts: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.left = threading.Event()

    def texts(self, cancel: threading.Event) -> Iterator[str]:
        """Yield the answer's pieces as the model writes them; raises AssistantError where it fails."""
        threading.Thread(target=self._run, daemon=True).start()
        try:
            while not cancel.is_set():
                try:
                    part = self.parts.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    continue
                if part is None:
                    self.left.set()
                    return
                if isinstance(part, BaseException):
                    raise self._explained(part)
                yield from self._text(part)
        finally:
            ended = self.left.is_set()
            self.left.set()
            if not ended:  # cancelled, or the reader went away: without this the server would write on
                self.agent.model.abort(self.chat)

    def _run(self) -> None:
        from assistant.answering.graph import stream_messages

        try:
            assert self.draft.packed is not None  # noqa: S101 - nothing is generated before it is packed
            for part in stream_messages(
                self.chat, self.draft.packed.messages, tools=self.tools, tool_calls=self.agent.config.tool_calls
            ):
                if self.left.is_set():
                    break
                self.parts.put(part)
            self.parts.put(None)
        except BaseException as exc:  # handed to whoever reads
            self.parts.put(exc)

    def _text(self, part: Any) -> Iterator[str]:
        usage = getattr(part, "usage_metadata", None)
        if usage:
            # tools: every call sends the prompt again, and the longest is the one that must fit
            self.draft.prompt_tokens = max(self.draft.prompt_tokens, int(usage["input_tokens"]))
            self.draft.answer_tokens += int(usage["output_tokens"])
        metadata: Mapping[str, Any] = getattr(part, "response_metadata", {}) or {}
        self.draft.end = str(metadata.get("done_reason") or metadata.get("finish_reason") or self.draft.end)
        text = part.text
        if text:
            yield str(text)

    def _explained(self, exc: BaseException) -> BaseException:
        if isinstance(exc, AssistantError) or not isinstance(exc, Exception):
            return exc
        explained = self.agent.model.explain(exc)
        if explained is not None:
            explained.__cause__ = exc
            return explained
        if self.draft.pieces:
            interrupted = ModelInterrupted(f"{self.agent.model.name} failed: {type(exc).__name__}: {exc}", "ask again")
            interrupted.__cause__ = exc
            return interrupted
        return exc


def _quoted(draft: _Draft) -> Iterator[Citation]:
    for quote in draft.quotes:
        yield Citation(
            number=quote.number,
            document=quote.document,
            document_id=quote.document_id,
            page=quote.page,
            page_label=quote.page_label,
            start=quote.start,
            end=quote.end,
            quote=quote.text,
        )

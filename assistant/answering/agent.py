"""The agent: answers a question from a library with a model. It stores nothing and prints nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from assistant.answering import followup
from assistant.answering.answer import Answer, Done, Event, Found, Notice, Token, Usage
from assistant.answering.answer_filter import AnswerFilter
from assistant.answering.bare_answers import FIRMER, BareCheck
from assistant.answering.budget import Packed, answer_room, pack
from assistant.answering.citations import Citation, with_rows
from assistant.answering.cited_text import CitedText, CitingStream, stream_citing, without_marks
from assistant.answering.evidence import find_evidence
from assistant.answering.excerpts import EXCERPTS, format_quote, select_quotes
from assistant.answering.generation import Reply, Written, write_answer
from assistant.answering.prompt import REFUSAL, Message, is_refusal
from assistant.answering.toolbox import EvidenceBudget, make_tools
from assistant.config import AssistantConfig, Sampling
from assistant.errors import AssistantError, ModelError
from assistant.llm.model import QUOTES, Model
from assistant.retrieval.features import asks_for_amount
from assistant.retrieval.reranker import load_reranker
from assistant.retrieval.search import Passage, QueryEmbedder, search
from ingest import PdfStore, TableRow, page_tables
from quire import QuireError, pluralize

if TYPE_CHECKING:
    from ingest import Store

NO_DOCUMENTS = "No documents are used: the model answers alone, and nothing it says is checked."
_MODE_NOTICES = {"quotes": (EXCERPTS,), "chat": (NO_DOCUMENTS,), "model": ()}
_MAX_QUOTES_BESIDE = 2  # shown beside an answer with a detail that nothing supports
_TEMPLATE_TOKENS = 50  # the budget's allowance for a chat template, which a server may not use


@dataclass(frozen=True)
class _Request:
    """What one call asks for, with the defaults filled in."""

    question: str
    mode: str  # as in Answer
    documents: Sequence[str] | None
    k: int
    history: Sequence[Answer]
    sampling: Sampling
    tools: bool
    cancel: threading.Event
    started: float  # on the monotonic clock


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
        generation at once, even before the first token; the answer keeps the text written until then.
        """
        yield from self._answer(
            _Request(
                question=question,
                mode=("quotes" if self.model.name == QUOTES else "model") if use_documents else "chat",
                documents=documents,
                k=k or self.config.passages,
                history=history,
                sampling=sampling or self.config.sampling,
                tools=self.config.tools if tools is None else tools,
                cancel=cancel or threading.Event(),
                started=time.monotonic(),
            )
        )

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
        """Return the answers to several questions, in their order, with up to `workers` at the same time."""
        with ThreadPoolExecutor(max_workers=workers) as pool:
            return list(pool.map(lambda question: self.ask(question, **options), questions))

    def warm_up(self) -> None:
        """Import what the first answer needs, which takes seconds; nothing is sent to the model."""
        if self.model.name != QUOTES:
            import assistant.answering.agent_graph  # noqa: F401

            self.model.build(self.config.sampling)

    def _answer(self, request: _Request) -> Iterator[Event]:
        """Yield the events of one answer: this function is the order of the steps from question to answer."""
        yield from map(Notice, self.model.notices)
        asked = self._standalone_question(request)
        evidence = self._evidence(request, asked)
        if request.mode != "chat" and not evidence:
            yield from (Found(()), Token(REFUSAL), Done(self._refusal(request, asked)))
            return
        prompt = self._prompt(request, evidence)
        if request.mode != "chat":
            yield Found(prompt.passages)
        opening = self._opening_notices(request, prompt)
        yield from map(Notice, opening)
        called_at = time.monotonic()
        mode, cited, closing = request.mode, None, []
        if mode != "quotes":
            prompt, written, cited = yield from self._write(request, prompt, asked)
            closing = self._closing_notices(prompt, written)
            if cited is None and mode == "model":
                mode = "quotes"
                closing.append(
                    f"{self.model.name} gave no usable answer. These are excerpts from your documents instead."
                )
            yield from map(Notice, closing)
        if mode == "quotes":
            quoted = yield from _write_quotes(asked, prompt.passages, self._tables())
            written = (
                quoted if request.mode == "quotes" else replace(written, text=quoted.text, citations=quoted.citations)
            )
        answer = Answer(
            question=request.question,
            text=written.text,
            refused=False,
            mode=mode,
            model=self.model.name,
            citations=written.citations,
            passages=written.passages,
            notices=(*self.model.notices, *opening, *closing),
            usage=_usage(request, prompt, written, called_at),
            invented=written.invented,
            interrupted=written.interrupted,
            asked=asked,
            messages=prompt.messages,
            sampling=request.sampling,
            raw=written.raw,
        )
        yield Done(self._cited(answer, cited) if cited else answer)

    def _standalone_question(self, request: _Request) -> str:
        """Return the question to search for; "" if nothing is searched."""
        turns = [(answer.question, answer.text) for answer in request.history]
        if request.mode == "chat":
            return ""
        if not turns:
            return request.question
        if request.mode == "quotes":
            return followup.prepend_previous_question(turns, request.question)
        return followup.condense(self.model, turns, request.question, request.cancel)

    def _evidence(self, request: _Request, asked: str) -> list[Passage]:
        if request.mode == "chat":
            return []
        return find_evidence(
            request.question,
            asked,
            lambda question: self._search(question, request.k, request.documents),
            threshold=self.config.threshold,
            history=request.history,
            documents=request.documents,
            quotes=request.mode == "quotes",
        )

    def _search(self, question: str, k: int, documents: Sequence[str] | None) -> list[Passage]:
        if self.store is None or self.embedder is None:
            raise AssistantError("this agent has no library", "give it a store and an embedder, or use_documents=False")
        reranker = load_reranker(self.config)
        return search(self.store, self.embedder, question, k=k, documents=documents, reranker=reranker)

    def _tables(self) -> Callable[[Passage], list[TableRow]]:
        """Return what gives the rows of the tables of a passage's page, none if its PDF is on another machine."""
        pdfs = PdfStore(self.config.home)

        @cache
        def keys() -> dict[str, str]:
            return {document.id: document.stored_pdf for document in self.store.documents()} if self.store else {}

        def rows(passage: Passage) -> list[TableRow]:
            try:
                path = pdfs.path(keys()[passage.document_id])
                return page_tables(path, passage.page) if path else []
            except (
                KeyError,
                QuireError,
            ):  # a document that was removed or damaged since costs the heads, not the answer
                return []

        return rows

    def _prompt(self, request: _Request, evidence: Sequence[Passage]) -> Packed:
        return pack(
            request.question,
            evidence,
            count=self.model.count,
            window=self.model.window,
            max_tokens=request.sampling.max_tokens,
            history=[] if request.mode == "quotes" else _turns_without_marks(request.history),
            system_prompt=self.config.system_prompt,
            evidence_share=self.config.evidence_share,
            documents=request.mode != "chat",
        )

    def _write(
        self, request: _Request, prompt: Packed, asked: str
    ) -> Generator[Token, None, tuple[Packed, Written, CitedText | None]]:
        """Yield the text that the model writes, with citations, and return it with the prompt that brought it.

        An answer that answers nothing is asked for once more; nothing of it was yielded. After two, no text is returned.
        """
        written, cited = yield from self._attempt(request, prompt, asked)
        if cited is None and request.mode == "model" and not written.interrupted:
            *earlier, question = prompt.messages
            prompt = replace(prompt, messages=(*earlier, Message("user", f"{question.content}\n{FIRMER}")))
            first = written
            written, cited = yield from self._attempt(request, prompt, asked)
            written = replace(written, answer_tokens=first.answer_tokens + written.answer_tokens)
        return prompt, written, cited

    def _attempt(
        self, request: _Request, prompt: Packed, asked: str
    ) -> Generator[Token, None, tuple[Written, CitedText | None]]:
        room = self.model.window - answer_room(self.model.window, request.sampling.max_tokens) - prompt.prompt_tokens
        budget = EvidenceBudget(prompt.passages, self.model.count, room)
        reply = Reply(
            self.model,
            prompt.messages,
            request.sampling,
            tools=self._tools(request, budget),
            tool_calls=self.config.tool_calls,
        )
        writing = write_answer(reply, budget.passages, request.cancel)
        if request.mode == "chat":
            return (yield from writing), None
        return (
            yield from stream_citing(
                writing, CitingStream(asked, budget.passages), BareCheck(prompt.passages, amount=asks_for_amount(asked))
            )
        )

    def _tools(self, request: _Request, budget: EvidenceBudget) -> list[Any] | None:
        if not (request.tools and self.model.tools and self.store and request.mode == "model"):
            return None
        return make_tools(
            self.store,
            lambda question, k: self._search(question, k, request.documents),
            budget,
            documents=request.documents,
        )

    def _opening_notices(self, request: _Request, prompt: Packed) -> list[str]:
        notices = [*prompt.notices, *_MODE_NOTICES[request.mode]]
        if request.mode != "quotes" and request.tools and not self.model.tools:
            notices.append(f"{self.model.name} cannot call tools; the passages were looked up once.")
        return notices

    def _closing_notices(self, prompt: Packed, written: Written) -> list[str]:
        notices = []
        if not written.interrupted and not written.text:
            notices.append(f"{self.model.name} wrote nothing that can be shown: ask again, or choose another model.")
        if written.invented:
            verb = "was" if len(written.invented) == 1 else "were"
            count = pluralize(len(written.invented), "citation")
            notices.append(f"{count} of passages that do not exist {verb} removed.")
        if written.interrupted and written.interrupted != "stopped":
            notices.append(f"The answer was cut off and is incomplete: {written.interrupted}")
        if written.reached_limit:
            notices.append("The answer reached the maximum length (max_tokens) and is cut off.")
        # an estimate can be up to twice the real count; below that, the server has truncated the prompt
        least = 0.9 if self.model.counts_exactly else 0.45
        if 0 < written.prompt_tokens < least * prompt.prompt_tokens - _TEMPLATE_TOKENS:
            notices.append(
                f"The server read {written.prompt_tokens} tokens of a prompt of about {prompt.prompt_tokens}: "
                "it cut the prompt, so evidence may be missing."
            )
        return notices

    def _cited(self, answer: Answer, cited: CitedText) -> Answer:
        """Return a model's answer with its citations, or the refusal that it amounts to."""
        if not answer.interrupted and is_refusal(answer.text) and not cited.citations:
            return replace(answer, text=REFUSAL, refused=True)
        tables = cache(self._tables())
        return replace(
            answer,
            text=cited.text.rstrip(),
            citations=tuple(with_rows(one, answer.passages[one.number - 1], tables) for one in cited.citations),
            unsupported=cited.unsupported,
            quotes=tuple(select_quotes(answer.asked, answer.passages, limit=_MAX_QUOTES_BESIDE, tables=tables))
            if cited.lacks_details
            else (),
        )

    def _refusal(self, request: _Request, asked: str) -> Answer:
        return Answer(
            question=request.question,
            text=REFUSAL,
            refused=True,
            mode=request.mode,
            model=self.model.name,
            notices=self.model.notices,
            usage=Usage(seconds=_seconds(request.started)),
            asked=asked,
            sampling=request.sampling,
        )


def _write_quotes(
    question: str, passages: Sequence[Passage], tables: Callable[[Passage], list[TableRow]]
) -> Generator[Token, None, Written]:
    """Yield the best quote of each passage; needs neither a model nor LangChain."""
    answer_filter = AnswerFilter(len(passages))
    first_token_at = None
    pieces: list[str] = []
    quotes: list[Citation] = []
    for quote in select_quotes(question, passages, tables=tables):
        quotes.append(quote)
        text = answer_filter.feed(format_quote(quote)) + answer_filter.close()
        first_token_at = first_token_at or time.monotonic()
        pieces.append(text if not pieces else f"\n\n{text}")
        yield Token(pieces[-1])
    return Written(
        text="".join(pieces).strip(),
        passages=tuple(passages),
        citations=tuple(quotes),
        first_token_at=first_token_at,
    )


def _turns_without_marks(history: Sequence[Answer]) -> list[tuple[str, str]]:
    """Return earlier questions and answers; their numbers are those of other passages."""
    return [(answer.question, without_marks(answer.text)) for answer in history]


def _usage(request: _Request, prompt: Packed, written: Written, called_at: float) -> Usage:
    budgeted = 0 if request.mode == "quotes" else prompt.prompt_tokens
    return Usage(
        prompt_tokens=written.prompt_tokens or budgeted,
        evidence_tokens=prompt.evidence_tokens,
        answer_tokens=written.answer_tokens,
        dropped_passages=prompt.dropped_passages,
        dropped_turns=prompt.dropped_turns,
        seconds=_seconds(request.started),
        first_token_seconds=_seconds(request.started, written.first_token_at) if written.first_token_at else None,
        own_seconds=_seconds(request.started, called_at),
    )


def _seconds(start: float, end: float | None = None) -> float:
    return round((time.monotonic() if end is None else end) - start, 4)

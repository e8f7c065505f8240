"""What all visitors share: libraries, models, ingests, pending answers and the saved conversations."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from assistant import (
    Agent,
    Answer,
    AssistantConfig,
    AssistantError,
    Finding,
    History,
    Sampling,
    choose_model,
    diagnose,
    load_reranker,
    log_turn,
)
from ingest import IngestConfig, IngestError
from quire import QuireError
from streamlit_app.conversation import PendingAnswer
from streamlit_app.generation import Generation
from streamlit_app.jobs import Jobs
from streamlit_app.libraries import Libraries
from streamlit_app.models import Models
from streamlit_app.refreshing_cache import RefreshingCache

_log = logging.getLogger(__name__)
_MAX_PENDING = 200  # pending and failed answers that a reload can find


@dataclass(frozen=True)
class Question:
    """One question with everything that its answer depends on."""

    text: str
    library: str
    model: str
    documents: tuple[str, ...] | None  # ids, None means all
    use_documents: bool
    sampling: Sampling
    system_prompt: str
    earlier: tuple[Answer, ...] = ()


class Services:
    """One per process; safe to use from several threads."""

    def __init__(self, ingest_config: IngestConfig, config: AssistantConfig) -> None:
        self.ingest_config = ingest_config
        self.config = config
        self.libraries = Libraries(ingest_config)
        self.models = Models(config)
        self.jobs = Jobs(ingest_config.home, self.libraries.reopen_if_replaced, self.libraries.embedder)
        self._lock = threading.Lock()
        self._pending: dict[str, PendingAnswer] = {}  # by conversation id
        self._history: History | None = None
        self._findings: RefreshingCache[list[Finding]] = RefreshingCache(lambda: diagnose(ingest_config, config), [])
        threading.Thread(target=self._warm, daemon=True, name="warm").start()

    def findings(self) -> list[Finding]:
        """Return what `quire doctor` finds, at most some seconds old."""
        return self._findings.value()

    def remove_library(self, name: str) -> None:
        """Remove a library permanently; raises IngestError while files are being added to it."""
        if any(job.active for job in self.jobs.of(name)):
            raise IngestError(f"files are being added to library {name}", "stop it under Library, then remove it")
        self.libraries.remove(name)

    def history(self) -> History:
        """Return the saved conversations, opened on first use; raises HistoryError."""
        with self._lock:
            if self._history is None:
                self._history = History(self.config.home)
            return self._history

    def ask(self, question: Question, finished: Callable[[Answer], None]) -> Generation:
        """Start an answer; `finished` is called with it in the generating thread."""

        def log_and_finish(answer: Answer) -> None:
            log_turn(self.config, answer)
            finished(answer)

        return Generation(
            question.text,
            lambda: self._agent(question),
            log_and_finish,
            documents=question.documents,
            history=question.earlier,
            sampling=question.sampling,
            use_documents=question.use_documents,
        )

    def _agent(self, question: Question) -> Agent:
        library = self.libraries.get(question.library) if question.use_documents else None
        if question.use_documents and library is None:
            raise AssistantError(f"library {question.library!r} is empty", "add a PDF under Library")
        model = self.models.load(question.model)
        if not question.use_documents and model.name == "quotes":
            raise AssistantError(
                "an answer without documents needs a model", 'choose a model, or turn on "Answer from documents"'
            )
        config = replace(self.config, system_prompt=question.system_prompt)
        if library is None:
            return Agent(config, model)
        return Agent(config, model, library.store, library.embedder)

    def add_pending(self, pending: PendingAnswer) -> None:
        """Remember a pending answer, so that a reload or another tab can continue with it."""
        with self._lock:
            # failed ones stay: their question is saved nowhere else, and can be asked again
            kept = {i: p for i, p in self._pending.items() if _unfinished(p)}
            kept.pop(pending.conversation.id, None)
            self._pending = dict(list(kept.items())[-_MAX_PENDING:]) | {pending.conversation.id: pending}

    def pending(self, conversation_id: str) -> PendingAnswer | None:
        """Return a conversation's pending or failed answer, None if there is none."""
        with self._lock:
            found = self._pending.get(conversation_id)
        return found if found is not None and _unfinished(found) else None

    def drop_pending(self, conversation_id: str) -> None:
        """Forget a failed answer."""
        with self._lock:
            self._pending.pop(conversation_id, None)

    def _warm(self) -> None:
        """Load in advance what the first question would wait for."""
        try:
            self.models.entries()
            name, _ = choose_model(self.config)
            library = self.libraries.get(self.ingest_config.library)
            if library is not None:
                library.embedder.embed_query("warm")
                library.store.search_text("warm", limit=1)
                load_reranker(self.config)
            if name.startswith(("ollama:", "openai:")):  # other kinds would load their weights
                Agent(self.config, self.models.load(name)).warm_up()
        except QuireError as exc:
            _log.info("not warmed: %s", exc)  # the first question shows the error on the page


def _unfinished(pending: PendingAnswer) -> bool:
    return not pending.generation.done or pending.generation.failure is not None

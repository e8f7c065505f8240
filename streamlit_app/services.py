"""What all visitors share: open libraries, one warm embedder, the ingests, the models and the conversations' file; it draws nothing."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from assistant import (
    Agent,
    Answer,
    AssistantConfig,
    AssistantError,
    History,
    Model,
    ModelEntry,
    Sampling,
    choose_model,
    list_models,
    load_model,
    log_turn,
)
from ingest import (
    Copies,
    Document,
    IngestConfig,
    IngestError,
    Library,
    LibrarySummary,
    StoreError,
    check_embedder,
    libraries,
    open_store,
    remove_document,
    remove_library,
)
from quire import QuireError
from streamlit_app.generation import Generation, Trouble
from streamlit_app.jobs import Jobs

if TYPE_CHECKING:
    from pathlib import Path

    from assistant import Finding
    from ingest import Embedder
    from streamlit_app.state import Running

_log = logging.getLogger(__name__)
T = TypeVar("T")
_FRESH_SECONDS = 20.0  # how long a list of models or findings is shown before it is asked for again
_MOST_RUNNING = 200  # answers on their way or gone wrong that are remembered for a reload
_PATIENCE_SECONDS = 2.5  # how long the first visitor waits for such a list


@dataclass(frozen=True)
class Question:
    """One question with all that its answer depends on."""

    text: str
    library: str
    model: str
    documents: tuple[str, ...] | None  # ids, None means all
    use_documents: bool
    sampling: Sampling
    system_prompt: str
    earlier: tuple[Answer, ...] = ()


@dataclass
class Pull:
    """A model that Ollama is fetching."""

    name: str
    status: str = "asking"
    done: int = 0
    total: int = 0
    finished: bool = False
    trouble: Trouble | None = None


class Services:
    """One for the whole process; every method is safe to call from several threads."""

    def __init__(self, ingest_config: IngestConfig, config: AssistantConfig) -> None:
        self.ingest_config = ingest_config
        self.config = config
        self.jobs = Jobs(ingest_config.home, self._changed, self.embedder)
        self._lock = threading.RLock()
        self._embedder: Embedder | None = None
        self._libraries: dict[str, Library] = {}
        self._removals = 0  # counts removed libraries: one that was being opened meanwhile must not be kept
        self._models: dict[str, tuple[float, Model]] = {}
        self._pulls: dict[str, Pull] = {}
        self._running: dict[str, Running] = {}  # conversation id: its answer on the way
        self._history: History | None = None
        self._tuned: set[tuple[str, int]] = set()  # the records when the models were last asked for
        self._model_list = _Kept(self._list_models, [ModelEntry("quotes", note="excerpts, no model")])
        self._findings: _Kept[list[Finding]] = _Kept(self._find, [])
        threading.Thread(target=self._warm, daemon=True, name="warm").start()

    # libraries

    def library_names(self) -> list[str]:
        """Return the names of the libraries that there are, with the one that is set among them."""
        names = [summary.name for summary in self.summaries()]
        with self._lock:
            # removed by another process: a handle would go on reading the file that is gone
            gone = [self._libraries.pop(name) for name in list(self._libraries) if name not in names]
        for library in gone:
            library.store.close()
        return sorted({*names, self.ingest_config.library}, key=str.lower)

    def summaries(self) -> list[LibrarySummary]:
        """Return a line on each library; raises StoreError."""
        return libraries(self.ingest_config)

    def settings_of(self, library: str) -> IngestConfig:
        """Return the ingest settings with this library in place of the one that is set."""
        return replace(self.ingest_config, library=library)

    def library(self, name: str) -> Library | None:
        """Return an open library, None while nothing was put in; raises StoreError, IdentityMismatch, EmbedderUnavailable."""
        with self._lock:
            if name in self._libraries:
                return self._libraries[name]
            removals = self._removals
        config = self.settings_of(name)
        try:
            store = open_store(config, create=False)
        except StoreError:
            if any(summary.name == name for summary in self.summaries()):
                raise
            return None
        try:
            embedder = self.embedder()
            check_embedder(store, embedder, name)
        except QuireError:
            store.close()
            raise
        with self._lock:
            if self._removals != removals:
                store.close()
                return self.library(name)
            if name in self._libraries:  # another visitor was faster
                store.close()
            else:
                self._libraries[name] = Library(name, store, embedder)
            return self._libraries[name]

    def documents(self, library: str) -> list[Document]:
        """Return the documents of a library by name, [] while nothing was put in."""
        found = self.library(library)
        if found is None:
            return []
        try:
            return found.store.documents()
        except StoreError:
            self._changed(library)  # it was removed or replaced by another process: open it anew
            found = self.library(library)
            return found.store.documents() if found else []

    def embedder(self) -> Embedder:
        """Return the embedder in force, loaded once."""
        with self._lock:
            if self._embedder is None:
                from ingest import load_embedder

                self._embedder = load_embedder(self.ingest_config)
            return self._embedder

    def remove_document(self, library: str, document: Document) -> None:
        """Remove a document with its passages and, when no other uses it, its copy."""
        found = self.library(library)
        if found is not None:
            remove_document(self.settings_of(library), found.store, document)

    def remove_library(self, library: str) -> None:
        """Remove a library whole and for good; raises IngestError while one of our ingests writes into it."""
        from ingest import library_key

        if any(job.active for job in self.jobs.of(library)):
            raise IngestError(f"an ingest is writing into library {library}", "stop it under Library, then remove it")
        self._forget(library)
        remove_library(self.ingest_config, library)
        with self._lock:
            self._removals += 1
            self._forget(library)  # whoever opened it before its files were gone
        Copies(self.ingest_config.home).release_library(library_key(self.settings_of(library)))

    def _forget(self, library: str) -> None:
        with self._lock:
            opened = self._libraries.pop(library, None)
        if opened is not None:
            opened.store.close()

    def copy_of(self, document: Document) -> Path | None:
        """Return where the copy of a document lies, None where it lies on another machine."""
        return Copies(self.ingest_config.home).path(document.sha256)

    # models

    def models(self) -> list[ModelEntry]:
        """Return what can answer; asked for again in the background when it is older than some seconds.

        It is waited for when a tuned model was handed over or removed since.
        """
        if self._tuned != self._tuned_records():
            self._model_list.expire()
        return self._model_list.value()

    def _tuned_records(self) -> set[tuple[str, int]]:
        found = set()
        for path in (self.config.home / "models").glob("*.json"):
            with contextlib.suppress(OSError):  # removed meanwhile
                found.add((path.name, path.stat().st_mtime_ns))
        return found

    def default_model(self) -> str:
        """Return the model that is set, else Ollama's first, else quotes."""
        if self.config.model:
            return self.config.model
        return next((entry.name for entry in self.models() if entry.name != "quotes"), "quotes")

    def model(self, name: str) -> Model:
        """Return a model ready to answer; raises AssistantError."""
        with self._lock:
            kept = self._models.get(name)
        if kept and time.monotonic() - kept[0] < _FRESH_SECONDS:
            return kept[1]
        model = load_model(name, self.config)
        with self._lock:
            # gguf and hf hold weights: only the newest of these may stay in memory
            if name.startswith(("gguf:", "hf:")):
                self._models = {n: m for n, m in self._models.items() if not n.startswith(("gguf:", "hf:"))}
                self._models[name] = (float("inf"), model)
            else:
                self._models[name] = (time.monotonic(), model)
        return model

    def pull(self, name: str) -> Pull:
        """Have Ollama fetch a model in the background, and return what tells how far it is."""
        with self._lock:
            pull = self._pulls.get(name)
            if pull is None or pull.finished:
                pull = self._pulls[name] = Pull(name)
                threading.Thread(target=self._pull, args=(pull,), daemon=True, name=f"pull {name}").start()
            return pull

    def pulls(self) -> list[Pull]:
        """Return the models that are being fetched, and those that were or could not be until somebody dismissed it."""
        with self._lock:
            return list(self._pulls.values())

    def forget_pull(self, pull: Pull) -> None:
        """Take a finished fetch off the list."""
        with self._lock:
            self._pulls.pop(pull.name, None)

    def findings(self) -> list[Finding]:
        """Return what doctor finds; asked for again in the background when it is older than some seconds."""
        return self._findings.value()

    # answers and conversations

    def history(self) -> History:
        """Return the conversations' file; raises HistoryError."""
        with self._lock:
            if self._history is None:
                self._history = History(self.config.home)
            return self._history

    def ask(self, question: Question, finished: Callable[[Answer], None]) -> Generation:
        """Begin an answer; `finished` gets it in the generating thread."""

        def build() -> Agent:
            library = self.library(question.library) if question.use_documents else None
            if question.use_documents and library is None:
                raise AssistantError(f"library {question.library!r} is empty", "put a PDF in under Library")
            model = self.model(question.model)
            if not question.use_documents and model.name == "quotes":
                raise AssistantError(
                    "without documents and without a model there is nothing to say", "choose a model, or ask documents"
                )
            config = replace(self.config, system_prompt=question.system_prompt)
            if library is None:
                return Agent(config, model)
            return Agent(config, model, library.store, library.embedder)

        def logged(answer: Answer) -> None:
            log_turn(self.config, answer)
            finished(answer)

        return Generation(
            question.text,
            build,
            logged,
            documents=question.documents,
            history=question.earlier,
            sampling=question.sampling,
            use_documents=question.use_documents,
        )

    def follow(self, running: Running) -> None:
        """Remember an answer on its way, so that a reload or another tab takes it up again."""
        with self._lock:
            # one that went wrong stays: its question stands nowhere else, and can be tried again
            kept = {i: r for i, r in self._running.items() if not r.generation.done or r.generation.trouble}
            kept.pop(running.talk.id, None)
            self._running = dict(list(kept.items())[-_MOST_RUNNING:]) | {running.talk.id: running}

    def running(self, conversation: str) -> Running | None:
        """Return the answer on its way in a conversation, or the one that went wrong; None for neither."""
        with self._lock:
            found = self._running.get(conversation)
        return found if found and (not found.generation.done or found.generation.trouble) else None

    def forget(self, conversation: str) -> None:
        """Let go of an answer that went wrong."""
        with self._lock:
            self._running.pop(conversation, None)

    # inside

    def _changed(self, library: str) -> None:
        """Let a library that was absent or replaced be opened anew at its next use."""
        with self._lock:
            opened = self._libraries.get(library)
        if opened is None:
            return
        try:
            opened.store.count()
        except StoreError:
            with self._lock:
                self._libraries.pop(library, None)
            opened.store.close()

    def _list_models(self) -> list[ModelEntry]:
        self._tuned = self._tuned_records()  # before the question: a tag that comes meanwhile is asked for again
        entries = list_models(self.config)
        if self.config.model and self.config.model not in {entry.name for entry in entries}:
            entries.insert(0, ModelEntry(self.config.model, note="set by QUIRE_MODEL or quire.toml"))
        return entries

    def _find(self) -> list[Finding]:
        from assistant import diagnose

        return diagnose(self.ingest_config, self.config)

    def _pull(self, pull: Pull) -> None:
        from assistant import pull_model

        try:
            for status, done, total in pull_model(self.config, pull.name):
                pull.status, pull.done, pull.total = status, done, total
        except QuireError as exc:
            pull.trouble = Trouble(exc.message, exc.hint)
        pull.finished = True
        self._model_list.expire()

    def _warm(self) -> None:
        """Do what the first question would wait for."""
        try:
            self.models()
            name, _ = choose_model(self.config)
            library = self.library(self.ingest_config.library)
            if library is not None:
                library.embedder.embed_query("warm")
                library.store.search_text("warm", limit=1)
            if name.startswith(("ollama:", "openai:")):  # other kinds would load their weights
                Agent(self.config, self.model(name)).warm_up()
        except QuireError as exc:
            _log.info("not warmed: %s", exc)  # whoever asks sees it on the page


class _Kept(Generic[T]):
    """A value that is slow to have: shown from memory, asked for again in the background when it is old."""

    def __init__(self, make: Callable[[], T], first: T) -> None:
        self._make, self._value = make, first
        self._made_at = float("-inf")
        self._lock = threading.Lock()
        self._running: threading.Thread | None = None
        self._once = threading.Event()

    def value(self) -> T:
        with self._lock:
            old = time.monotonic() - self._made_at > _FRESH_SECONDS
            if old and (self._running is None or not self._running.is_alive()):
                self._running = threading.Thread(target=self._renew, daemon=True, name="renew")
                self._running.start()
        self._once.wait(_PATIENCE_SECONDS)
        return self._value

    def expire(self) -> None:
        self._made_at = float("-inf")
        self._once.clear()

    def _renew(self) -> None:
        try:
            self._value = self._make()
        except QuireError as exc:
            _log.info("not renewed: %s", exc)
        finally:
            self._made_at = time.monotonic()
            self._once.set()

"""The models that can answer, shared by all visitors: listing, loading, and downloading with Ollama."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass

from assistant import AssistantConfig, Model, ModelEntry, list_models, load_model, pull_model
from quire import QuireError
from streamlit_app.refreshing_cache import FRESH_SECONDS, RefreshingCache

_LOCAL_WEIGHTS = ("gguf:", "hf:")


@dataclass
class Download:
    """A model that Ollama downloads; the downloading thread updates it."""

    name: str
    status: str = "starting"
    done_bytes: int = 0
    total_bytes: int = 0
    finished: bool = False
    failure: QuireError | None = None


class Models:
    """One per process; safe to use from several threads."""

    def __init__(self, config: AssistantConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._loaded: dict[str, tuple[float, Model]] = {}  # by name, with the time until it is loaded again
        self._downloads: dict[str, Download] = {}
        self._records: set[tuple[str, int]] = set()  # of tuned models, when the list was last made
        self._list = RefreshingCache(self._list_models, [ModelEntry("quotes", note="excerpts, no model")])

    def entries(self) -> list[ModelEntry]:
        """Return the models that can answer, at most some seconds old; at once after a tuned model was added or removed."""
        if self._records != self._tuned_records():
            self._list.expire()
        return self._list.value()

    def default(self) -> str:
        """Return the name of the configured model, else of Ollama's first one, else "quotes"."""
        if self._config.model:
            return self._config.model
        return next((entry.name for entry in self.entries() if entry.name != "quotes"), "quotes")

    def load(self, name: str) -> Model:
        """Return a model that is ready to answer; raises AssistantError."""
        with self._lock:
            fresh_until, loaded = self._loaded.get(name, (0.0, None))
        if loaded is not None and time.monotonic() < fresh_until:
            return loaded
        model = load_model(name, self._config)
        with self._lock:
            if name.startswith(_LOCAL_WEIGHTS):  # only the newest of these stays in memory
                self._loaded = {n: m for n, m in self._loaded.items() if not n.startswith(_LOCAL_WEIGHTS)}
                self._loaded[name] = (float("inf"), model)
            else:
                self._loaded[name] = (time.monotonic() + FRESH_SECONDS, model)
        return model

    def download(self, name: str) -> Download:
        """Start downloading a model with Ollama in the background and return its progress."""
        with self._lock:
            download = self._downloads.get(name)
            if download is None or download.finished:
                download = self._downloads[name] = Download(name)
                threading.Thread(target=self._run, args=(download,), daemon=True, name=f"download {name}").start()
            return download

    def downloads(self) -> list[Download]:
        """Return the downloads, including finished and failed ones until they are dismissed."""
        with self._lock:
            return list(self._downloads.values())

    def dismiss(self, download: Download) -> None:
        """Remove a finished download from the list."""
        with self._lock:
            self._downloads.pop(download.name, None)

    def _run(self, download: Download) -> None:
        try:
            for status, done, total in pull_model(self._config, download.name):
                download.status, download.done_bytes, download.total_bytes = status, done, total
        except QuireError as exc:
            download.failure = exc
        download.finished = True
        self._list.expire()

    def _list_models(self) -> list[ModelEntry]:
        self._records = self._tuned_records()  # first: a model that is added meanwhile changes them again
        entries = list_models(self._config)
        if self._config.model and self._config.model not in {entry.name for entry in entries}:
            entries.insert(0, ModelEntry(self._config.model, note="set by QUIRE_MODEL or quire.toml"))
        return entries

    def _tuned_records(self) -> set[tuple[str, int]]:
        found = set()
        for path in (self._config.home / "models").glob("*.json"):
            with contextlib.suppress(OSError):  # removed meanwhile
                found.add((path.name, path.stat().st_mtime_ns))
        return found

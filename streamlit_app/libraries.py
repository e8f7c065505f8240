"""The open libraries, shared by all visitors with one loaded embedder."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from ingest import (
    Document,
    Embedder,
    IngestConfig,
    Library,
    PdfStore,
    StoreError,
    check_embedder,
    libraries,
    library_key,
    load_embedder,
    open_store,
    remove_document,
    remove_library,
)
from quire import QuireError


class Libraries:
    """Opens each library once and keeps it open; safe to use from several threads."""

    def __init__(self, config: IngestConfig) -> None:
        self._config = config
        self._lock = threading.RLock()
        self._embedder: Embedder | None = None
        self._open: dict[str, Library] = {}
        self._removals = 0  # a library that is opened while another is removed may be the removed one

    def names(self) -> list[str]:
        """Return the names of all libraries and of the configured one; closes those that another process removed."""
        names = [summary.name for summary in libraries(self._config)]
        with self._lock:
            # an open handle would keep reading the deleted file
            removed = [self._open.pop(name) for name in list(self._open) if name not in names]
        for library in removed:
            library.store.close()
        return sorted({*names, self._config.library}, key=str.lower)

    def config_for(self, library: str) -> IngestConfig:
        """Return the ingest settings for this library."""
        return replace(self._config, library=library)

    def get(self, name: str) -> Library | None:
        """Return an open library, None if it does not exist; raises StoreError, IdentityMismatch, EmbedderUnavailable."""
        with self._lock:
            if name in self._open:
                return self._open[name]
            removals = self._removals
        try:
            store = open_store(self.config_for(name), create=False)
        except StoreError:
            if any(summary.name == name for summary in libraries(self._config)):
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
                return self.get(name)
            if name in self._open:  # another visitor was faster
                store.close()
            else:
                self._open[name] = Library(name, store, embedder)
            return self._open[name]

    def documents(self, name: str) -> list[Document]:
        """Return a library's documents by name, [] if it does not exist."""
        library = self.get(name)
        if library is None:
            return []
        try:
            return library.store.documents()
        except StoreError:
            self.reopen_if_replaced(name)
            library = self.get(name)
            return library.store.documents() if library else []

    def embedder(self) -> Embedder:
        """Return the embedder, loaded on first use."""
        with self._lock:
            if self._embedder is None:
                self._embedder = load_embedder(self._config)
            return self._embedder

    def page_label(self, name: str, document_id: str, page: int) -> str:
        """Return the page number that is printed on a page, "" if none is known."""
        library = self.get(name)
        chunks = library.store.page_chunks([(document_id, page)]) if library else {}
        on_page = chunks.get((document_id, page)) or []
        return on_page[0].page_label if on_page else ""

    def stored_pdf(self, document: Document) -> Path | None:
        """Return the path of a document's stored PDF, None if it is on another machine."""
        return PdfStore(self._config.home).path(document.stored_pdf)

    def remove_document(self, name: str, document: Document) -> None:
        """Remove a document with its passages, and its stored PDF if no other document has the same bytes."""
        library = self.get(name)
        if library is not None:
            remove_document(self.config_for(name), library.store, document)

    def remove(self, name: str) -> None:
        """Remove a library with all its documents, permanently."""
        self._close(name)
        remove_library(self._config, name)
        with self._lock:
            self._removals += 1
            self._close(name)  # somebody may have opened it before its files were deleted
        PdfStore(self._config.home).release_library(library_key(self.config_for(name)))

    def reopen_if_replaced(self, name: str) -> None:
        """Close an open library whose files were removed or replaced, so that the next use opens it again."""
        with self._lock:
            library = self._open.get(name)
        if library is None:
            return
        try:
            library.store.count()
        except StoreError:
            self._close(name)

    def _close(self, name: str) -> None:
        with self._lock:
            library = self._open.pop(name, None)
        if library is not None:
            library.store.close()

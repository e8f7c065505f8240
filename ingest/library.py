"""Opens a library for asking: its store, and the embedder it was made with; it writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ingest.config import IngestConfig
from ingest.embed import Embedder, load_embedder
from ingest.errors import IdentityMismatch
from ingest.store import Store, open_store


@dataclass(frozen=True)
class Library:
    """A store and the embedder whose vectors it holds."""

    name: str
    store: Store
    embedder: Embedder

    def document_ids(self, names: Sequence[str]) -> list[str] | None:
        """Return the ids of documents given by display name or id, None for none; raises UnknownDocument."""
        from ingest.pipeline import find_document

        return [find_document(self.store, name).id for name in names] or None


@contextmanager
def open_library(config: IngestConfig) -> Iterator[Library]:
    """Open a library that exists; raises StoreError, EmbedderUnavailable, or IdentityMismatch with the way out."""
    store = open_store(config, create=False)
    try:
        embedder = load_embedder(config)
        check_embedder(store, embedder, config.library)
        yield Library(config.library, store, embedder)
    finally:
        store.close()


def check_embedder(store: Store, embedder: Embedder, library: str) -> None:
    """Raise IdentityMismatch where a library's vectors come from another embedder than the one in force."""
    made = store.identity()
    if made is None:
        return
    own = embedder.identity()
    then = (made.embedder, made.revision, made.dimension, made.query_prefix)
    now = (own.name, own.revision, own.dimension, own.query_prefix)
    if then != now:
        raise IdentityMismatch(
            f"library {library!r} was embedded with {made.embedder} ({made.revision[:12]}, {made.dimension} dimensions), "
            f"and the embedder in force is {own.name} ({own.revision[:12]}, {own.dimension})",
            f"re-embed it from its stored text: `quire docs reindex --library {library}`, or set QUIRE_EMBEDDER back",
        )

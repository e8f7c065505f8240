"""The text index beside a library's file: derived from it, updated with it, and rebuilt if damaged."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.text.words import query_terms, searchable

logger = logging.getLogger(__name__)

_HEAP = 64_000_000  # bytes for the index writer; tantivy needs at least 15 MB
_LOCK_TIMEOUT_SECONDS = 20.0  # for another process that is writing the index
_STATE_KEY = -1  # document key of the one entry that describes the index


@dataclass(frozen=True)
class Source:
    """The content of a library's file in one transaction, as the index needs it."""

    library: str  # its random id
    generation: int  # increases with every change of the library
    versions: dict[int, int]  # document key -> generation of its last change
    chunks: Callable[[int], Iterator[tuple[int, str]]]  # document key -> (row, text) of its chunks


class IndexDamaged(ValueError):
    """The files of the index cannot be read; it is rebuilt from the library's file."""


@contextlib.contextmanager
def _panics_caught() -> Iterator[None]:
    try:
        yield
    except BaseException as exc:
        # tantivy panics on damaged files, with a BaseException whose class cannot be imported
        if type(exc).__name__ != "PanicException":
            raise
        raise IndexDamaged(str(exc)) from exc


class Fulltext:
    """BM25 over stemmed terms by tantivy; kept in memory if the disk cannot be written.

    One thread at a time calls it; other processes may read and write the same folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index: Any = None
        self._searcher: Any = None
        self._state: dict[str, Any] | None = None
        self._in_memory = False

    def holds(self, library: str, generation: int) -> bool | None:
        """Return True if the index is up to date, False if it is behind the file, None if it is ahead."""
        if not self._is_of(library) or self._generation() < generation:
            self._reload()
        if not self._is_of(library):
            return False
        return None if self._generation() > generation else self._generation() == generation

    def update(self, source: Source) -> None:
        """Update the index from the library's file; only changed documents are indexed again."""
        try:
            with _panics_caught():
                self._write(source)
        except (OSError, ValueError) as exc:
            if self._in_memory:
                raise
            # A full or read-only disk, a damaged index, or another process that writes for longer than we wait:
            # the question still gets an answer.
            logger.info("text index %s: %s; it is kept in memory", self._folder, exc)
            self._index, self._searcher, self._state, self._in_memory = None, None, None, True
            self._write(source)

    def search(self, query: str, limit: int, documents: Collection[int] | None) -> list[tuple[int, float]]:
        """Return (row, BM25 score) of the best chunks, best first; raises IndexDamaged."""
        wanted = query_terms(query)
        if self._searcher is None or not wanted or limit <= 0 or (documents is not None and not documents):
            return []
        with _panics_caught():
            return self._search(wanted, limit, documents)

    def discard(self) -> None:
        """Delete the index, so that the next update rebuilds it."""
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _search(self, wanted: list[str], limit: int, documents: Collection[int] | None) -> list[tuple[int, float]]:
        from tantivy import Occur, Query

        schema = self._index.schema
        text = Query.boolean_query([(Occur.Should, Query.term_query(schema, "text", t, "freq")) for t in wanted])
        if documents is not None:
            only = Query.const_score_query(Query.term_set_query(schema, "document", list(documents)), 0.0)
            text = Query.boolean_query([(Occur.Must, text), (Occur.Must, only)])
        hits = self._searcher.search(text, limit, count=False).hits
        rows = self._searcher.fast_field_values("row", [address for _, address in hits])
        found = [(int(row), float(score)) for row, (score, _) in zip(rows, hits, strict=True)]
        return sorted(found, key=lambda hit: (-hit[1], hit[0]))

    def close(self) -> None:
        """Close the files of the index."""
        self._index = self._searcher = self._state = None

    def _write(self, source: Source) -> None:
        self._open()
        writer = self._writer()
        try:
            self._reload()  # another process may have written while we waited for the writer
            self._update_documents(writer, source)
        finally:
            writer.wait_merging_threads()
        self._reload()

    def _update_documents(self, writer: Any, source: Source) -> None:
        import tantivy

        held: dict[int, int] = {}
        if self._is_of(source.library) and self._state is not None:
            held = {int(key): version for key, version in self._state["versions"].items()}
            if self._generation() > source.generation:
                return
        stale = [key for key, version in held.items() if source.versions.get(key) != version]
        if not held or len(stale) > len(held) // 4:
            # so many deletions would free their disk space only at a later merge: start over
            writer.delete_all_documents()
            held, stale = {}, []
        for key in stale:
            writer.delete_documents_by_term("document", key)
        for key, version in source.versions.items():
            if held.get(key) != version:
                for row, text in source.chunks(key):
                    writer.add_document(tantivy.Document(text=searchable(text), row=row, document=key))
        state = {"library": source.library, "generation": source.generation, "versions": source.versions}
        writer.delete_documents_by_term("document", _STATE_KEY)
        writer.add_document(tantivy.Document(state=json.dumps(state).encode(), row=-1, document=_STATE_KEY))
        writer.commit()
        writer.garbage_collect_files()

    def _writer(self) -> Any:
        deadline = time.monotonic() + _LOCK_TIMEOUT_SECONDS
        while True:
            try:
                return self._index.writer(_HEAP, 1)
            except ValueError as exc:
                if "LockBusy" not in str(exc) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _open(self) -> None:
        import tantivy

        if self._index is not None:
            return
        if self._in_memory:
            self._index = tantivy.Index(_schema())
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with _panics_caught():
                self._index = tantivy.Index(_schema(), str(self._folder))
        except ValueError as exc:
            logger.info("text index %s is rebuilt: %s", self._folder, exc)
            damaged = self._folder.with_name(f"{self._folder.name}.damaged-{time.time_ns()}")
            self._folder.rename(damaged)
            shutil.rmtree(damaged, ignore_errors=True)
            self._folder.mkdir(mode=0o700)
            self._index = tantivy.Index(_schema(), str(self._folder))

    def _reload(self) -> None:
        """Load the last commit of any process."""
        import tantivy

        try:
            if self._index is None:
                if not self._in_memory and not tantivy.Index.exists(str(self._folder)):
                    return
                self._open()
            with _panics_caught():
                self._index.reload()
                self._searcher = self._index.searcher()
                own = tantivy.Query.term_query(_schema(), "document", _STATE_KEY)
                found = self._searcher.search(own, 1, count=False).hits
                stored = self._searcher.doc(found[0][1]).get_first("state") if found else None
                self._state = json.loads(bytes(stored)) if stored else None
        except IndexDamaged as exc:
            logger.info("text index %s is damaged: %s", self._folder, exc)
            self.discard()
        except (OSError, ValueError) as exc:
            logger.info("text index %s cannot be read: %s", self._folder, exc)
            self._index = self._searcher = self._state = None

    def _is_of(self, library: str) -> bool:
        return self._state is not None and self._state["library"] == library

    def _generation(self) -> int:
        return int(self._state["generation"]) if self._state is not None else -1


def _schema() -> Any:
    import tantivy

    builder = tantivy.SchemaBuilder()
    # without positions: phrases are never searched
    builder.add_text_field("text", stored=False, tokenizer_name="en_stem", index_option="freq")
    builder.add_integer_field("row", stored=False, fast=True)
    builder.add_integer_field("document", stored=False, indexed=True)
    builder.add_bytes_field("state", stored=True)
    return builder.build()

"""A library on a Weaviate server, with versions in place of transactions.

Each passage has the version of its document, and the document's record names the current version. A new version is
written and counted first, then the record is replaced, then the old passages are deleted. Readers check the records of
what they found, so that no result mixes versions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ingest.config import IngestConfig
from ingest.embed.identity import Vectors
from ingest.errors import StoreError, UnknownDocument
from ingest.store.contract import Document, Hit, Identity
from ingest.store.records import identity_mismatch, unit_vectors
from ingest.store.weaviate.connection import Connection, wait_a_moment
from ingest.store.weaviate.handles import Handles
from ingest.store.weaviate.records import Records
from ingest.store.weaviate.schema import MAX_RESULTS
from ingest.store.weaviate.values import (
    RETURNED,
    Record,
    Root,
    among,
    object_uuid,
    parts_of,
    to_chunk,
    version_of,
)
from ingest.store.weaviate.writes import PassageWriter
from ingest.text.chunks import Chunk
from ingest.text.words import query_terms

_WINDOW = 1000  # passages read at once
_MAX_REREADS = 40  # while documents are being replaced


class WeaviateStore:
    """A library on a server; open it with `open_collection`. Safe in several threads, processes and machines."""

    def __init__(self, connection: Connection, config: IngestConfig, library: str) -> None:
        self._library = library
        self._handles = Handles(connection, config, library)
        self._records, self._writer = Records(self._handles), PassageWriter(self._handles)
        self._root = self._records.root()

    # records

    def identity(self) -> Identity | None:
        """Return the embedder and chunking of the library, None before the first document."""
        self._root = self._records.root()
        return self._root.identity if self._root else None

    def set_identity(self, identity: Identity) -> None:
        """Record the embedder and chunking; raises IdentityMismatch if others are recorded."""
        stored = self.identity()
        if stored is None:
            self._handles.create_passages(1)
            self._handles.call(lambda: self._records.insert_root(identity))
            stored = self.identity()  # of two processes, one was first
        if stored is not None and stored != identity:
            raise identity_mismatch(self._library, stored, identity)

    def put(self, document: Document, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        """Store a document in one step, replacing its earlier version; vectors are float32 [n, dimension]."""
        root = self._need_root()
        data = unit_vectors(vectors, len(chunks), root.identity.dimension)
        record = replace(document, chunks=len(chunks))
        content = version_of(record, chunks, data)
        held = self._records.document(document.id)
        version = held.version if held is not None and held.version.partition("-")[0] == content else ""
        if not version or self._writer.count(root.generation, [version]) != len(chunks):
            version = self._writer.write_version(root.generation, record, content, chunks, data)
        self._records.write_document(record, version)
        if self._records.root() != root:
            raise StoreError(
                f"library {self._library!r} was re-embedded while {record.name} was stored", "run the command again"
            )
        self._writer.delete_versions(root.generation, document.id, keep=version)

    def remove(self, document_id: str) -> int:
        """Remove a document and return the number of its chunks."""
        root, record = self._need_root(), self._records.document(document_id)
        if record is None:
            raise self._unknown(document_id)
        removed = self.count(document_id)
        # if this process is killed, the next one that opens the library for writing finishes the removal
        self._records.upsert(
            {"kind": "removed", "key": document_id, "payload": ""}, object_uuid("removed", document_id)
        )
        self._handles.call(lambda: self._handles.records().data.delete_by_id(object_uuid("document", document_id)))
        self._finish_removal(root.generation, document_id)
        return removed

    def rename(self, document_id: str, name: str) -> None:
        """Change the display name in a document's record, from which its chunks get it when they are read."""
        record = self._records.document(document_id)
        if record is None:
            raise self._unknown(document_id)
        self._records.write_document(replace(record.document, name=name), record.version)

    def documents(self) -> list[Document]:
        """Return every document's record, ordered by name."""
        return sorted((r.document for r in self._records.all_documents()), key=lambda d: (d.name, d.id))

    def count(self, document_id: str | None = None) -> int:
        """Return the number of chunks on the server, of one document or of all."""
        root = self._records.root()
        if root is None:
            return 0
        if document_id is not None:
            record = self._records.document(document_id)
            return self._writer.count(root.generation, [record.version]) if record else 0
        versions = [record.version for record in self._records.all_documents()]
        return sum(self._writer.count(root.generation, part) for part in parts_of(versions, 200))

    # search

    def search_text(self, query: str, *, limit: int, documents: Sequence[str] | None = None) -> list[Hit]:
        """Return chunks by BM25 over any words of the query; `documents` are document ids, None means all."""
        from weaviate.classes.query import MetadataQuery

        words = " ".join(query_terms(query))
        if not words or not self._searchable(limit, documents):
            return []

        def run_query(generation: int, many: int) -> list[Any]:
            found = self._handles.passages(generation).query.bm25(
                query=words,
                query_properties=["terms"],
                limit=many,
                filters=among(documents),
                return_metadata=MetadataQuery(score=True),
                return_properties=RETURNED,
            )
            return list(found.objects)

        return self._hits(run_query, limit, lambda found: float(found.metadata.score or 0.0))

    def search_vector(self, vector: Vectors, *, limit: int, documents: Sequence[str] | None = None) -> list[Hit]:
        """Return chunks by cosine to a float32 [dimension] vector, approximately (HNSW)."""
        from weaviate.classes.query import MetadataQuery

        root = self._root or self._records.root()
        if root is None or not self._searchable(limit, documents):
            return []
        given = np.asarray(vector, dtype=np.float32)
        if len(given) != root.identity.dimension:
            self._root = root = self._need_root()  # perhaps re-embedded in the meantime
        unit = unit_vectors(given[None, :], 1, root.identity.dimension)[0].tolist()

        def run_query(generation: int, many: int) -> list[Any]:
            found = self._handles.passages(generation).query.near_vector(
                unit,
                limit=many,
                filters=among(documents),
                return_metadata=MetadataQuery(distance=True),
                return_properties=RETURNED,
            )
            return list(found.objects)

        return self._hits(run_query, limit, lambda found: 1.0 - float(found.metadata.distance or 0.0))

    def page_chunks(self, pages: Sequence[tuple[str, int]]) -> dict[tuple[str, int], list[Chunk]]:
        """Return all chunks of the given (document id, page) pairs, in reading order."""
        from weaviate.classes.query import Filter

        found: dict[tuple[str, int], list[Chunk]] = {}
        for part in parts_of(list(dict.fromkeys(pages)), 60):
            wanted = Filter.any_of(
                [
                    Filter.by_property("document_id").equal(document_id) & Filter.by_property("page").equal(page)
                    for document_id, page in part
                ]
            )

            def run_query(generation: int, many: int, wanted: Any = wanted) -> list[Any]:
                found = self._handles.passages(generation).query.fetch_objects(
                    filters=wanted, limit=many, return_properties=RETURNED
                )
                return list(found.objects)

            for one, record in sorted(
                self._live(run_query, MAX_RESULTS), key=lambda pair: pair[0].properties["position"]
            ):
                chunk = to_chunk(one.properties, record.document)
                found.setdefault((chunk.document_id, chunk.page), []).append(chunk)
        return found

    def scan(self, document_id: str | None = None) -> Iterator[tuple[Chunk, Vectors]]:
        """Yield every chunk with its vector, document by document in reading order."""
        order = [document_id] if document_id is not None else [document.id for document in self.documents()]
        for one in order:
            yield from self._scan_document(one)

    def replace_vectors(self, identity: Identity, batches: Iterator[tuple[list[str], Vectors]]) -> None:
        """Replace all vectors and the identity in one step; batches are (chunk ids, float32 [n, dimension])."""
        root = self._need_root()
        before = {r.document.id: r for r in self._records.all_documents()}
        self._handles.drop_passages(root.generation + 1)  # of an interrupted attempt
        self._handles.create_passages(root.generation + 1)
        try:
            for ids, vectors in batches:
                data = unit_vectors(vectors, len(ids), identity.dimension)
                self._writer.copy_with_vectors(
                    root.generation, root.generation + 1, before, dict(zip(ids, data, strict=True))
                )
            after = {r.document.id: r for r in self._records.all_documents()}
            if {k: r.version for k, r in after.items()} != {k: r.version for k, r in before.items()}:
                raise StoreError(
                    f"library {self._library!r} changed while it was re-embedded; the old vectors are kept",
                    "run `quire docs reindex` again",
                )
            for record in after.values():
                held = self._writer.count(root.generation + 1, [record.version])
                if held != record.document.chunks:
                    raise StoreError(
                        f"new vectors for only {held} of {record.document.chunks} chunks of {record.document.name}; "
                        "the old vectors are kept",
                        "run `quire docs reindex` again",
                    )
            self._records.write_root(Root(identity, root.generation + 1))
        except BaseException:
            self._handles.drop_passages(root.generation + 1)
            raise
        self._root = Root(identity, root.generation + 1)
        self._handles.drop_passages(root.generation)

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        self._handles.connection.close()

    def __enter__(self) -> WeaviateStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def finish_removals(self) -> None:
        """Finish removals that were interrupted."""
        root = self._records.root()
        for one in self._records.all():
            if one.properties["kind"] == "removed" and root is not None:
                self._finish_removal(root.generation, one.properties["key"])

    # reading

    def _hits(self, run_query: Callable[[int, int], list[Any]], limit: int, score: Callable[[Any], float]) -> list[Hit]:
        found = [
            (score(one), one.properties["document_id"], one.properties["position"], one, record)
            for one, record in self._live(run_query, limit)
        ]
        found.sort(key=lambda row: (-row[0], row[1], row[2]))
        return [Hit(to_chunk(one.properties, record.document), points) for points, _, _, one, record in found]

    def _live(self, run_query: Callable[[int, int], list[Any]], limit: int) -> list[tuple[Any, Record]]:
        """Return what a query finds of current versions, each with its document's record, best first.

        Passages of other versions exist while a document is being replaced, and after a writer was killed. They are
        left out, and the query is repeated until two in a row see the same state.
        """
        root = self._root or self._records.root()
        many, before = min(limit, MAX_RESULTS), None
        for _ in range(_MAX_REREADS):
            if root is None:
                return []
            try:
                generation = root.generation
                objects = self._handles.call(partial(run_query, generation, many))
            except StoreError:
                current = self._records.root()
                if current == root:
                    raise
                self._root = root = current  # re-embedded: the passages are in another collection now
                continue
            records, current = self._records.documents({one.properties["document_id"] for one in objects})
            if current != root:
                self._root = root = current
                continue
            live, outdated = [], set()
            for one in objects:
                record = records.get(one.properties["document_id"])
                if record is not None and record.version == one.properties["version"]:
                    live.append((one, record))
                else:
                    outdated.add((one.properties["document_id"], one.properties["version"]))
            state = (outdated, {key: record.written for key, record in records.items()})
            enough = len(live) >= limit or len(objects) < many or many == MAX_RESULTS
            if enough and (not outdated or state == before):
                return live[:limit]
            before = state
            if not enough:
                many = min(MAX_RESULTS, many * 2)
        raise StoreError(
            f"documents of library {self._library!r} were replaced faster than they could be read", "try again"
        )

    def _scan_document(self, document_id: str) -> Iterator[tuple[Chunk, Vectors]]:
        for attempt in range(_MAX_REREADS):
            root, record = self._records.root(), self._records.document(document_id)
            if root is None or record is None:
                return
            total = record.document.chunks
            objects: list[Any] = []
            for start in range(0, total, _WINDOW):
                objects += self._window(root.generation, record, start)
            if len(objects) == total:
                objects.sort(key=lambda one: one.properties["position"])
                for one in objects:
                    vector = np.asarray(one.vector["default"], dtype=np.float32)
                    yield to_chunk(one.properties, record.document), vector
                return
            if self._records.document(document_id) == record and self._records.root() == root and attempt > 2:
                raise StoreError(
                    f"{record.document.name}: the server has {len(objects)} of {total} passages",
                    "ingest the document again",
                )
            wait_a_moment(attempt)  # it was replaced while it was read

    def _window(self, generation: int, record: Record, start: int) -> list[Any]:
        from weaviate.classes.query import Filter

        where = Filter.all_of(
            [
                Filter.by_property("version").equal(record.version),
                Filter.by_property("position").greater_or_equal(start),
                Filter.by_property("position").less_than(start + _WINDOW),
            ]
        )
        found = self._handles.call(
            lambda: self._handles.passages(generation).query.fetch_objects(
                filters=where, limit=_WINDOW, include_vector=True, return_properties=RETURNED
            )
        )
        return list(found.objects)

    def _searchable(self, limit: int, documents: Sequence[str] | None) -> bool:
        return limit > 0 and (documents is None or len(documents) > 0)

    def _need_root(self) -> Root:
        self._root = self._records.root()
        if self._root is None:
            raise StoreError(f"library {self._library!r} has no identity yet", "call set_identity first")
        return self._root

    def _finish_removal(self, generation: int, document_id: str) -> None:
        if self._records.document(document_id) is None:
            self._writer.delete_versions(generation, document_id, keep="")
        self._handles.call(lambda: self._handles.records().data.delete_by_id(object_uuid("removed", document_id)))

    def _unknown(self, document_id: str) -> UnknownDocument:
        return UnknownDocument(
            f"library {self._library!r} has no document {document_id!r}", "`quire docs list` shows them all"
        )

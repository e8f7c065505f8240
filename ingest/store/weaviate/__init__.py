"""A library on a Weaviate server, its own or shared: the same contract as in a file, kept by versions that flip at once.

Every passage carries the version of its document it belongs to; the document's record says which version counts. A new
version is written and counted unseen, then the record is replaced, then the old passages are deleted. Readers check the
records of what they found, so that no answer mixes versions.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from ingest.config import IngestConfig
from ingest.embed.identity import Vectors
from ingest.errors import StoreError, StoreUnreachable, UnknownDocument
from ingest.files.names import file_name
from ingest.store.contract import Document, Hit, Identity, LibrarySummary
from ingest.store.records import chunk_record, document_from, identity_mismatch, unit_vectors
from ingest.store.weaviate.connection import Connection, connect, wait_a_moment
from ingest.store.weaviate.schema import (
    absent,
    base_name,
    check_records,
    check_tenant,
    collections_of,
    create_passages,
    create_records,
    libraries_of,
    passages_name,
    records_name,
)
from ingest.store.weaviate.tenants import add_tenant, remove_share, tenant_states
from ingest.text.chunks import Chunk
from ingest.text.terms import indexed_text, query_terms, terms

_NAMESPACE = uuid.UUID("6b0f3ad4-30a2-5c1c-8a0e-9f6a5b0d7c21")
_BATCH_OBJECTS = 500
_BATCH_BYTES = 8_000_000  # well under the 100 MB a message may have
_REQUESTS = 2  # batches under way at once
_SAMPLES = 16  # objects asked for, to know whether an earlier attempt left any
_TRIES = 4  # of objects that the server refused
_MOST = 10_000  # results one query may have (QUERY_MAXIMUM_RESULTS)
_WINDOW = 1000  # passages read at once
_RETURNED = [
    "text",
    "document_id",
    "version",
    "chunk_id",
    "page",
    "position",
    "start",
    "end",
    "page_label",
    "heading",
    "margins",
    "parser",
]  # all but the terms, which are as long as the text and only searched
_LOOKS = 40  # how often a reader looks again while a document is being replaced

Item = TypeVar("Item")


@dataclass(frozen=True)
class _Root:
    """The library's own record: its identity and which collection of passages counts."""

    identity: Identity
    epoch: int


@dataclass(frozen=True)
class _Record:
    """A document's record and the version of it that counts; `written` is another with every writing."""

    document: Document
    version: str
    written: str


class WeaviateStore:
    """A library on a server; open it with `open_collection`. Safe in several threads, processes and machines at once."""

    def __init__(self, connection: Connection, config: IngestConfig, library: str) -> None:
        self._connection, self._config, self._library = connection, config, library
        self._root: _Root | None = None
        self._root = self._read_root()

    # records

    def identity(self) -> Identity | None:
        """Return what the library was made with, None while it is empty and new."""
        self._root = self._read_root()
        return self._root.identity if self._root else None

    def set_identity(self, identity: Identity) -> None:
        """Record what the library is made with; raise IdentityMismatch where another is recorded."""
        stored = self.identity()
        if stored is None:
            self._make_passages(1)
            self._call(lambda: self._insert_root(identity))
            stored = self.identity()  # of two that come at once, one is first
        if stored is not None and stored != identity:
            raise identity_mismatch(self._library, stored, identity)

    def put(self, document: Document, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        """Store a document whole, in one step replacing what was stored under its id; vectors are float32 [n, dimension]."""
        root = self._need_root()
        data = unit_vectors(vectors, len(chunks), root.identity.dimension)
        record = replace(document, chunks=len(chunks))
        content = _version(record, chunks, data)
        held = self._record(document.id)
        version = held.version if held is not None and held.version.partition("-")[0] == content else ""
        if not version or self._count_version(root.epoch, [version]) != len(chunks):
            version = self._write_passages(root.epoch, record, content, chunks, data)
        self._write_record(record, version)
        if self._read_root() != root:
            raise StoreError(
                f"library {self._library!r} was embedded anew while {record.name} was stored", "run the command again"
            )
        self._delete_versions(root.epoch, document.id, keep=version)

    def remove(self, document_id: str) -> int:
        """Remove a document with all passages and return how many passages went."""
        root, record = self._need_root(), self._record(document_id)
        if record is None:
            raise self._unknown(document_id)
        removed = self.count(document_id)
        # the note outlives a kill: whoever opens the library for writing next finishes the removal
        self._upsert_record({"kind": "removed", "key": document_id, "payload": ""}, _uuid("removed", document_id))
        self._call(lambda: self._records().data.delete_by_id(_uuid("document", document_id)))
        self._finish_removal(root.epoch, document_id)
        return removed

    def rename(self, document_id: str, name: str) -> None:
        """Change the display name of a document on its record, from which all its passages take it when read."""
        record = self._record(document_id)
        if record is None:
            raise self._unknown(document_id)
        self._write_record(replace(record.document, name=name), record.version)

    def documents(self) -> list[Document]:
        """Return every document's record, ordered by name."""
        return sorted((r.document for r in self._all_records()), key=lambda d: (d.name, d.id))

    def count(self, document_id: str | None = None) -> int:
        """Return the number of passages the server holds, of one document or of all."""
        root = self._read_root()
        if root is None:
            return 0
        if document_id is not None:
            record = self._record(document_id)
            return self._count_version(root.epoch, [record.version]) if record else 0
        versions = [record.version for record in self._all_records()]
        return sum(self._count_version(root.epoch, part) for part in _parts(versions, 200))

    # search

    def search_text(self, query: str, *, limit: int, documents: Sequence[str] | None = None) -> list[Hit]:
        """Return passages by BM25 over any words of the query; `documents` are document ids, None means all."""
        from weaviate.classes.query import MetadataQuery

        words = " ".join(query_terms(query))
        if not words or not self._searchable(limit, documents):
            return []

        def leg(epoch: int, many: int) -> list[Any]:
            found = self._passages(epoch).query.bm25(
                query=words,
                query_properties=["terms"],
                limit=many,
                filters=_among(documents),
                return_metadata=MetadataQuery(score=True),
                return_properties=_RETURNED,
            )
            return list(found.objects)

        return self._hits(leg, limit, lambda found: float(found.metadata.score or 0.0))

    def search_vector(self, vector: Vectors, *, limit: int, documents: Sequence[str] | None = None) -> list[Hit]:
        """Return passages by cosine to a float32 [dimension] vector, nearly exact (HNSW)."""
        from weaviate.classes.query import MetadataQuery

        root = self._root or self._read_root()
        if root is None or not self._searchable(limit, documents):
            return []
        given = np.asarray(vector, dtype=np.float32)
        if len(given) != root.identity.dimension:
            self._root = root = self._need_root()  # embedded anew meanwhile?
        unit = unit_vectors(given[None, :], 1, root.identity.dimension)[0].tolist()

        def leg(epoch: int, many: int) -> list[Any]:
            found = self._passages(epoch).query.near_vector(
                unit,
                limit=many,
                filters=_among(documents),
                return_metadata=MetadataQuery(distance=True),
                return_properties=_RETURNED,
            )
            return list(found.objects)

        return self._hits(leg, limit, lambda found: 1.0 - float(found.metadata.distance or 0.0))

    def page_chunks(self, pages: Sequence[tuple[str, int]]) -> dict[tuple[str, int], list[Chunk]]:
        """Return all passages of the given (document id, page) pairs, in order of their place."""
        from weaviate.classes.query import Filter

        found: dict[tuple[str, int], list[Chunk]] = {}
        for part in _parts(list(dict.fromkeys(pages)), 60):
            wanted = Filter.any_of(
                [
                    Filter.by_property("document_id").equal(document_id) & Filter.by_property("page").equal(page)
                    for document_id, page in part
                ]
            )

            def leg(epoch: int, many: int, wanted: Any = wanted) -> list[Any]:
                found = self._passages(epoch).query.fetch_objects(
                    filters=wanted, limit=many, return_properties=_RETURNED
                )
                return list(found.objects)

            for one, record in sorted(self._live(leg, _MOST), key=lambda pair: pair[0].properties["position"]):
                chunk = _to_chunk(one.properties, record.document)
                found.setdefault((chunk.document_id, chunk.page), []).append(chunk)
        return found

    def scan(self, document_id: str | None = None) -> Iterator[tuple[Chunk, Vectors]]:
        """Yield every passage with its vector, document by document in order of place."""
        order = [document_id] if document_id is not None else [document.id for document in self.documents()]
        for one in order:
            yield from self._scan_document(one)

    def replace_vectors(self, identity: Identity, batches: Iterator[tuple[list[str], Vectors]]) -> None:
        """Re-embed: swap all vectors and the identity in one step; batches are (chunk ids, float32 [n, dimension])."""
        root = self._need_root()
        before = {r.document.id: r for r in self._all_records()}
        self._drop_passages(root.epoch + 1)  # of an attempt that broke off
        self._make_passages(root.epoch + 1)
        try:
            for ids, vectors in batches:
                data = unit_vectors(vectors, len(ids), identity.dimension)
                self._copy_with_vectors(root.epoch, root.epoch + 1, before, dict(zip(ids, data, strict=True)))
            after = {r.document.id: r for r in self._all_records()}
            if {k: r.version for k, r in after.items()} != {k: r.version for k, r in before.items()}:
                raise StoreError(
                    f"library {self._library!r} was changed while it was embedded anew; the old vectors stay",
                    "run `quire docs reindex` again",
                )
            for record in after.values():
                held = self._count_version(root.epoch + 1, [record.version])
                if held != record.document.chunks:
                    raise StoreError(
                        f"new vectors came for {held} of {record.document.chunks} passages of {record.document.name}; "
                        "the old ones stay",
                        "run `quire docs reindex` again",
                    )
            self._write_root(_Root(identity, root.epoch + 1))
        except BaseException:
            self._drop_passages(root.epoch + 1)
            raise
        self._root = _Root(identity, root.epoch + 1)
        self._drop_passages(root.epoch)

    def close(self) -> None:
        """Release the connection; calling it twice does nothing."""
        self._connection.close()

    def __enter__(self) -> WeaviateStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def finish_removals(self) -> None:
        """Delete what a removal that was killed left behind."""
        root = self._read_root()
        for one in self._each_record():
            if one.properties["kind"] == "removed" and root is not None:
                self._finish_removal(root.epoch, one.properties["key"])

    # reading

    def _hits(self, leg: Callable[[int, int], list[Any]], limit: int, score: Callable[[Any], float]) -> list[Hit]:
        found = [
            (score(one), one.properties["document_id"], one.properties["position"], one, record)
            for one, record in self._live(leg, limit)
        ]
        found.sort(key=lambda row: (-row[0], row[1], row[2]))
        return [Hit(_to_chunk(one.properties, record.document), points) for points, _, _, one, record in found]

    def _live(self, leg: Callable[[int, int], list[Any]], limit: int) -> list[tuple[Any, _Record]]:
        """Return what a query finds of versions that count, each with its document's record, best first.

        Passages of other versions are there while a document is being replaced, or after a writer was killed. They are
        left out, and the query is made again until two in a row saw the same state: the answer is of one moment.
        """
        root = self._root or self._read_root()
        many, before = min(limit, _MOST), None
        for _ in range(_LOOKS):
            if root is None:
                return []
            try:
                epoch = root.epoch
                objects = self._call(partial(leg, epoch, many))
            except StoreError:
                current = self._read_root()
                if current == root:
                    raise
                self._root = root = current  # embedded anew: the passages stand elsewhere now
                continue
            records, current = self._records_of({one.properties["document_id"] for one in objects})
            if current != root:
                self._root = root = current
                continue
            live, dead = [], set()
            for one in objects:
                record = records.get(one.properties["document_id"])
                if record is not None and record.version == one.properties["version"]:
                    live.append((one, record))
                else:
                    dead.add((one.properties["document_id"], one.properties["version"]))
            state = (dead, {key: record.written for key, record in records.items()})
            enough = len(live) >= limit or len(objects) < many or many == _MOST
            if enough and (not dead or state == before):
                return live[:limit]
            before = state
            if not enough:
                many = min(_MOST, many * 2)
        raise StoreError(
            f"documents of library {self._library!r} were replaced faster than they could be read", "ask again"
        )

    def _scan_document(self, document_id: str) -> Iterator[tuple[Chunk, Vectors]]:
        for attempt in range(_LOOKS):
            root, record = self._read_root(), self._record(document_id)
            if root is None or record is None:
                return
            total = record.document.chunks
            objects: list[Any] = []
            for start in range(0, total, _WINDOW):
                objects += self._window(root.epoch, record, start)
            if len(objects) == total:
                objects.sort(key=lambda one: one.properties["position"])
                for one in objects:
                    vector = np.asarray(one.vector["default"], dtype=np.float32)
                    yield _to_chunk(one.properties, record.document), vector
                return
            if self._record(document_id) == record and self._read_root() == root and attempt > 2:
                raise StoreError(
                    f"{record.document.name}: the server holds {len(objects)} of {total} passages",
                    "ingest the document again",
                )
            wait_a_moment(attempt)  # it was replaced while we read

    def _window(self, epoch: int, record: _Record, start: int) -> list[Any]:
        from weaviate.classes.query import Filter

        where = Filter.all_of(
            [
                Filter.by_property("version").equal(record.version),
                Filter.by_property("position").greater_or_equal(start),
                Filter.by_property("position").less_than(start + _WINDOW),
            ]
        )
        found = self._call(
            lambda: self._passages(epoch).query.fetch_objects(
                filters=where, limit=_WINDOW, include_vector=True, return_properties=_RETURNED
            )
        )
        return list(found.objects)

    def _searchable(self, limit: int, documents: Sequence[str] | None) -> bool:
        return limit > 0 and (documents is None or len(documents) > 0)

    # records

    def _read_root(self) -> _Root | None:
        found = self._call(lambda: self._records().query.fetch_object_by_id(_uuid("library", "")))
        return _to_root(found.properties) if found is not None else None

    def _need_root(self) -> _Root:
        self._root = self._read_root()
        if self._root is None:
            raise StoreError(f"library {self._library!r} has no identity yet", "call set_identity first")
        return self._root

    def _insert_root(self, identity: Identity) -> None:
        from weaviate.exceptions import UnexpectedStatusCodeError

        try:
            self._records().data.insert(_from_root(_Root(identity, 1)), uuid=_uuid("library", ""))
        except UnexpectedStatusCodeError as exc:
            if "already exists" not in str(exc):
                raise

    def _write_root(self, root: _Root) -> None:
        self._call(lambda: self._records().data.replace(uuid=_uuid("library", ""), properties=_from_root(root)))

    def _record(self, document_id: str) -> _Record | None:
        found = self._call(lambda: self._records().query.fetch_object_by_id(_uuid("document", document_id)))
        return _to_record(found.properties) if found is not None else None

    def _records_of(self, document_ids: set[str]) -> tuple[dict[str, _Record], _Root | None]:
        """Return the records of these documents and the library's own, as they are now."""
        wanted = [_uuid("library", ""), *(_uuid("document", one) for one in document_ids)]
        records: dict[str, _Record] = {}
        root = None
        for part in _parts(wanted, 500):
            found = self._call(partial(self._records().query.fetch_objects_by_ids, part, limit=len(part)))
            for one in found.objects:
                if one.properties["kind"] == "library":
                    root = _to_root(one.properties)
                else:
                    records[one.properties["key"]] = _to_record(one.properties)
        return records, root

    def _all_records(self) -> list[_Record]:
        return [_to_record(one.properties) for one in self._each_record() if one.properties["kind"] == "document"]

    def _each_record(self) -> list[Any]:
        return self._call(lambda: list(self._records().iterator(cache_size=500)))

    def _write_record(self, document: Document, version: str) -> None:
        payload = {"document": asdict(document), "version": version, "written": uuid.uuid4().hex}
        values = {"kind": "document", "key": document.id, "payload": json.dumps(payload)}
        self._upsert_record(values, _uuid("document", document.id))

    def _upsert_record(self, values: dict[str, str], key: str) -> None:
        from weaviate.classes.data import DataObject

        result = self._call(lambda: self._records().data.insert_many([DataObject(properties=values, uuid=key)]))
        if result.has_errors:
            raise StoreError(f"the server refused a record: {result.errors[0].message}", "run the command again")

    # writing

    def _write_passages(
        self, epoch: int, document: Document, content: str, chunks: Sequence[Chunk], vectors: Vectors
    ) -> str:
        """Write all passages of a version, have the server count them, and return the version's name.

        A server that was killed may come back with objects that its indexes have lost, or count twice; writing the same
        objects again does not mend that, as it finds them unchanged. So what an earlier attempt left is deleted by id
        first, and where the count is still wrong, everything is written anew under another name, which no index knows.
        """
        version = content
        for attempt in range(_TRIES):
            objects = _objects(document, version, chunks, vectors)
            if self._any_there(epoch, objects):
                self._delete_objects(epoch, objects)
            self._insert(epoch, objects, document.name)
            try:
                self._verify(epoch, document, version)
                return version
            except StoreUnreachable:
                raise
            except StoreError:
                self._delete_objects(epoch, objects)
                if attempt == _TRIES - 1:
                    raise
                version = f"{content}-{uuid.uuid4().hex[:8]}"
        raise AssertionError("the last attempt returns or raises")

    def _any_there(self, epoch: int, objects: Sequence[_Object]) -> bool:
        data = self._passages(epoch).data
        some = objects[:: max(1, len(objects) // _SAMPLES)]
        return self._call(lambda: any(data.exists(one.uuid) for one in some))

    def _delete_objects(self, epoch: int, objects: Sequence[_Object]) -> None:
        """Delete one by one: a search for them would go through the very indexes that may have lost them."""
        data = self._passages(epoch).data

        def delete(part: Sequence[_Object]) -> None:
            self._call(lambda: [data.delete_by_id(one.uuid) for one in part])

        with ThreadPoolExecutor(_REQUESTS) as pool:
            for outcome in [pool.submit(delete, part) for part in _parts(objects, 100)]:
                outcome.result()

    def _insert(self, epoch: int, objects: Sequence[_Object], document: str) -> None:
        """Write objects in bounded batches, a few at once, and those that the server refuses again."""
        batches = list(_batches(objects))
        if not batches:
            return
        with ThreadPoolExecutor(_REQUESTS) as pool:
            for outcome in [pool.submit(self._insert_batch, epoch, batch, document) for batch in batches]:
                outcome.result()

    def _insert_batch(self, epoch: int, batch: Sequence[_Object], document: str) -> None:
        left, reason = list(batch), ""
        for attempt in range(_TRIES):
            left, reason = self._try_batch(epoch, left)
            if not left:
                return
            if "length" in reason and "vector" in reason:
                break  # will not get better
            wait_a_moment(attempt)
        error = self._connection.translate(RuntimeError(reason))
        if isinstance(error, StoreError):
            raise error
        raise StoreError(
            f"{document}: the server refused {len(left)} of {len(batch)} passages: {reason[:300]}",
            "run the command again; its log may say more",
        )

    def _try_batch(self, epoch: int, batch: list[_Object]) -> tuple[list[_Object], str]:
        """Send one batch; return the objects that were refused and why."""
        from weaviate.classes.data import DataObject
        from weaviate.exceptions import WeaviateInsertManyAllFailedError

        def send() -> tuple[list[_Object], str]:
            sent = [DataObject(properties=o.properties, uuid=o.uuid, vector=o.vector) for o in batch]
            try:
                result = self._passages(epoch).data.insert_many(sent)
            except WeaviateInsertManyAllFailedError as exc:
                return batch, str(exc.message)
            failed = sorted(result.errors)
            return [batch[i] for i in failed], (result.errors[failed[0]].message if failed else "")

        return self._call(send)

    def _verify(self, epoch: int, document: Document, version: str) -> None:
        """Raise unless the server counts as many passages of this version as the document has."""
        held = 0
        for attempt in range(_TRIES):
            held = self._count_version(epoch, [version]) if document.chunks else 0
            if held == document.chunks:
                return
            wait_a_moment(attempt)
        raise StoreError(
            f"{document.name}: the server counts {held} of {document.chunks} passages, so it was not added",
            "run the command again; if it stays, look at the server's log",
        )

    def _count_version(self, epoch: int, versions: Sequence[str]) -> int:
        from weaviate.classes.query import Filter

        where = Filter.by_property("version").contains_any(list(versions))
        found = self._call(lambda: self._passages(epoch).aggregate.over_all(filters=where, total_count=True))
        return int(found.total_count or 0)

    def _delete_versions(self, epoch: int, document_id: str, *, keep: str) -> None:
        from weaviate.classes.query import Filter

        where = Filter.by_property("document_id").equal(document_id)
        if keep:
            where = where & Filter.by_property("version").not_equal(keep)
        while True:  # one call deletes at most 10,000
            result = self._call(lambda: self._passages(epoch).data.delete_many(where=where))
            if result.failed:
                raise StoreError(
                    f"the server could not delete {result.failed} of {result.matches} passages", "run the command again"
                )
            if result.matches < _MOST:
                return

    def _finish_removal(self, epoch: int, document_id: str) -> None:
        if self._record(document_id) is None:
            self._delete_versions(epoch, document_id, keep="")
        self._call(lambda: self._records().data.delete_by_id(_uuid("removed", document_id)))

    def _copy_with_vectors(
        self, source: int, target: int, records: dict[str, _Record], vectors: dict[str, Vectors]
    ) -> None:
        from weaviate.classes.query import Filter

        for part in _parts(list(vectors), 500):
            where = Filter.by_property("chunk_id").contains_any(part)
            found = self._call(partial(self._passages(source).query.fetch_objects, filters=where, limit=_MOST))
            objects = []
            for one in found.objects:
                record = records.get(one.properties["document_id"])
                if record is not None and record.version == one.properties["version"]:
                    properties = {name: value for name, value in one.properties.items() if value is not None}
                    vector = vectors[one.properties["chunk_id"]].tolist()
                    objects.append(_Object(str(one.uuid), properties, vector))
            self._insert(target, objects, "re-embedding")

    # collections

    def _records(self) -> Any:
        return self._collection(records_name(self._library))

    def _passages(self, epoch: int) -> Any:
        return self._collection(passages_name(self._library, epoch))

    def _collection(self, name: str) -> Any:
        from weaviate.classes.config import ConsistencyLevel

        collection = self._connection.client.collections.use(name)
        if self._config.tenant:
            collection = collection.with_tenant(self._config.tenant)
        return collection.with_consistency_level(ConsistencyLevel(self._config.weaviate_consistency))

    def _make_passages(self, epoch: int) -> None:
        client = self._connection.client
        self._call(lambda: create_passages(client, self._config, self._library, epoch))
        if self._config.tenant:
            self._call(lambda: add_tenant(client, passages_name(self._library, epoch), self._config.tenant))

    def _drop_passages(self, epoch: int) -> None:
        """Delete the passages of an epoch; with tenants only our own, and the collection with the last."""
        client, name, tenant = self._connection.client, passages_name(self._library, epoch), self._config.tenant

        def drop() -> None:
            if not client.collections.exists(name):
                return
            if tenant:
                tenants = client.collections.use(name).tenants
                tenants.remove([tenant])
                if tenants.get():
                    return
            client.collections.delete(name)

        self._call(drop)

    def _call(self, step: Callable[[], Item]) -> Item:
        return self._connection.call(step)

    def _unknown(self, document_id: str) -> UnknownDocument:
        return UnknownDocument(
            f"library {self._library!r} holds no document {document_id!r}", "`quire docs list` shows them all"
        )


@dataclass(frozen=True)
class _Object:
    """One passage as it is sent."""

    uuid: str
    properties: dict[str, Any]
    vector: list[float]


# opening


def open_collection(config: IngestConfig, name: str, *, create: bool) -> WeaviateStore:
    """Open the library of that name on the server that is set; raises StoreError where it is absent (without `create`)."""
    check_tenant(config.tenant)
    base_name(name)  # raises for what cannot be a name
    connection = connect(config)
    try:
        client = connection.client
        if not connection.call(lambda: check_records(client, name, config.tenant)):
            if not create:
                raise absent(name)
            connection.call(lambda: create_records(client, config, name))
            connection.call(lambda: check_records(client, name, config.tenant))
        if config.tenant:
            _enter_tenant(connection, config.tenant, name, create=create)
        store = WeaviateStore(connection, config, name)
        if create:
            store.finish_removals()
        return store
    except BaseException:
        connection.close()
        raise


def list_collections(config: IngestConfig) -> list[LibrarySummary]:
    """Return the libraries of the server by name; of those kept by tenants the set tenant's share, or that of all."""
    connection = connect(config)
    try:
        names = connection.call(lambda: libraries_of(connection.client))
        return [_summary(connection, config, name) for name in sorted(names)]
    finally:
        connection.close()


def remove_collection(config: IngestConfig, name: str) -> None:
    """Remove a library from the server, or only the set tenant's share of it; raises StoreError where there is none."""
    connection = connect(config)
    try:
        client = connection.client
        if not connection.call(lambda: client.collections.exists(records_name(name))):
            raise absent(name)
        if config.tenant:
            connection.call(lambda: remove_share(client, name, config.tenant))
            return
        collections = connection.call(lambda: collections_of(client, name))
        # the records last: a removal that is killed leaves a library that can be removed again
        for one in sorted(collections, key=lambda collection: collection == records_name(name)):
            connection.call(partial(client.collections.delete, one))
    finally:
        connection.close()


def _enter_tenant(connection: Connection, tenant: str, library: str, *, create: bool) -> None:
    client = connection.client
    if tenant in (connection.call(lambda: tenant_states(client, library)) or ()):
        return
    if not create:
        raise StoreError(
            f"library {library!r} has no tenant {tenant!r}", "`quire ingest --tenant` makes it with its first document"
        )
    connection.call(lambda: add_tenant(client, records_name(library), tenant))


def _summary(connection: Connection, config: IngestConfig, library: str) -> LibrarySummary:
    client, documents, passages, asleep = connection.client, 0, 0, 0
    try:
        states = connection.call(lambda: tenant_states(client, library))
        if states is None:
            shares = [""]
        elif config.tenant:
            shares = [config.tenant] if config.tenant in states else []
        else:  # counting a share would bring it into memory
            shares = [tenant for tenant, active in states.items() if active]
            asleep = len(states) - len(shares)
        for tenant in shares:
            store = WeaviateStore(connection, replace(config, tenant=tenant), library)
            found = store.documents()
            documents, passages = documents + len(found), passages + sum(one.chunks for one in found)
    except StoreUnreachable:
        raise
    except StoreError as exc:
        return LibrarySummary(library, 0, 0, config.store, 0, problem=str(exc))
    note = f"tenants not in memory, and not counted: {asleep}" if asleep else ""
    return LibrarySummary(library, documents, passages, config.store, _bytes(config, library), note=note)


def _bytes(config: IngestConfig, library: str) -> int:
    """Return what the library takes on this disk where the server is our own; a server elsewhere does not tell: 0."""
    if config.store != "weaviate-embedded":
        return 0
    start = base_name(library).lower()
    folders = (config.home / "weaviate" / "data").glob(f"{start}_[rp][ea]*")
    return sum(p.stat().st_size for folder in folders for p in folder.rglob("*") if p.is_file())


# values


def _uuid(kind: str, key: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{kind}\n{key}"))


def _version(document: Document, chunks: Sequence[Chunk], vectors: Vectors) -> str:
    """Return what names exactly this content: writing the same again after a kill writes the same objects."""
    digest = hashlib.sha256()
    for part in (document.id, document.sha256, document.source, document.title):
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    for chunk in chunks:
        digest.update(json.dumps(chunk_record(replace(chunk, document=""))).encode() + b"\0")
    digest.update(np.ascontiguousarray(vectors).tobytes())
    return digest.hexdigest()[:32]


def _objects(document: Document, version: str, chunks: Sequence[Chunk], vectors: Vectors) -> list[_Object]:
    return [
        _Object(
            uuid=_uuid(version, chunk.id),
            properties={
                "text": chunk.text,
                "terms": " ".join(terms(indexed_text(chunk, document.source, document.title))),
                "document_id": document.id,
                "document": file_name(document.source),
                "version": version,
                "chunk_id": chunk.id,
                "page": chunk.page,
                "position": position,
                "start": chunk.start,
                "end": chunk.end,
                "page_label": chunk.page_label,
                "heading": chunk.heading,
                "margins": [place for margin in chunk.running_lines for place in margin],
                "parser": chunk.parser,
            },
            vector=vector.tolist(),
        )
        for position, (chunk, vector) in enumerate(zip(chunks, vectors, strict=True))
    ]


def _batches(objects: Sequence[_Object]) -> Iterator[list[_Object]]:
    """Yield the objects in batches bounded in number and in bytes."""
    batch: list[_Object] = []
    size = 0
    for one in objects:
        own = 4 * len(one.vector) + 3 * len(one.properties["text"]) + 3 * len(one.properties["terms"])
        if batch and (len(batch) == _BATCH_OBJECTS or size + own > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += own
    if batch:
        yield batch


def _parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _among(documents: Sequence[str] | None) -> Any:
    from weaviate.classes.query import Filter

    return None if documents is None else Filter.by_property("document_id").contains_any(list(documents))


def _to_chunk(values: dict[str, Any], document: Document) -> Chunk:
    flat = values.get("margins") or []
    return Chunk(
        id=values["chunk_id"],
        document_id=document.id,
        document=document.name,
        page=values["page"],
        page_label=values["page_label"] or "",
        start=values["start"],
        end=values["end"],
        text=values["text"] or "",
        heading=values["heading"] or "",
        running_lines=tuple(zip(flat[::2], flat[1::2], strict=True)),
        parser=values["parser"] or "",
    )


def _from_root(root: _Root) -> dict[str, str]:
    payload = {"identity": asdict(root.identity), "epoch": root.epoch}
    return {"kind": "library", "key": "", "payload": json.dumps(payload)}


def _to_root(values: dict[str, Any]) -> _Root:
    payload = json.loads(values["payload"])
    return _Root(Identity(**payload["identity"]), payload["epoch"])


def _to_record(values: dict[str, Any]) -> _Record:
    payload = json.loads(values["payload"])
    return _Record(document_from(payload["document"]), payload["version"], payload["written"])

"""Writes, counts and deletes the passages of a library on the server."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ingest.embed.identity import Vectors
from ingest.errors import StoreError, StoreUnreachable
from ingest.store.contract import Document
from ingest.store.weaviate.connection import wait_a_moment
from ingest.store.weaviate.handles import Handles
from ingest.store.weaviate.schema import MAX_RESULTS
from ingest.store.weaviate.values import PassageObject, Record, batches_of, parts_of, passage_objects
from ingest.text.chunks import Chunk

_PARALLEL_REQUESTS = 2  # batches in flight
_SAMPLES = 16  # objects looked up to find out whether an earlier attempt left any
_ATTEMPTS = 4  # at objects that the server refused


class PassageWriter:
    """Writes versions of documents into the passages of one embedding generation, and deletes them."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles

    def write_version(
        self, generation: int, document: Document, content: str, chunks: Sequence[Chunk], vectors: Vectors
    ) -> str:
        """Write all passages of a version, have the server count them, and return the version's name.

        After a kill a server may have objects that its indexes lost or count twice. Writing the same objects again does
        not repair that, since the server finds them unchanged. So the objects of an earlier attempt are deleted by id
        first; if the count is still wrong, all are written again under another version, which no index knows.
        """
        version = content
        for attempt in range(_ATTEMPTS):
            objects = passage_objects(document, version, chunks, vectors)
            if self._any_there(generation, objects):
                self._delete_objects(generation, objects)
            self._insert(generation, objects, document.name)
            try:
                self._verify(generation, document, version)
                return version
            except StoreUnreachable:
                raise
            except StoreError:
                self._delete_objects(generation, objects)
                if attempt == _ATTEMPTS - 1:
                    raise
                version = f"{content}-{uuid.uuid4().hex[:8]}"
        raise AssertionError("the last attempt returns or raises")

    def _any_there(self, generation: int, objects: Sequence[PassageObject]) -> bool:
        data = self._handles.passages(generation).data
        some = objects[:: max(1, len(objects) // _SAMPLES)]
        return self._handles.call(lambda: any(data.exists(one.uuid) for one in some))

    def _delete_objects(self, generation: int, objects: Sequence[PassageObject]) -> None:
        """Delete by id: a query would use the very indexes that may have lost the objects."""
        data = self._handles.passages(generation).data

        def delete(part: Sequence[PassageObject]) -> None:
            self._handles.call(lambda: [data.delete_by_id(one.uuid) for one in part])

        with ThreadPoolExecutor(_PARALLEL_REQUESTS) as pool:
            for outcome in [pool.submit(delete, part) for part in parts_of(objects, 100)]:
                outcome.result()

    def _insert(self, generation: int, objects: Sequence[PassageObject], document: str) -> None:
        """Write objects in bounded batches, some in parallel, and retry those that the server refuses."""
        batches = list(batches_of(objects))
        if not batches:
            return
        with ThreadPoolExecutor(_PARALLEL_REQUESTS) as pool:
            for outcome in [pool.submit(self._insert_batch, generation, batch, document) for batch in batches]:
                outcome.result()

    def _insert_batch(self, generation: int, batch: Sequence[PassageObject], document: str) -> None:
        left, reason = list(batch), ""
        for attempt in range(_ATTEMPTS):
            left, reason = self._try_batch(generation, left)
            if not left:
                return
            if "length" in reason and "vector" in reason:
                break  # a retry would not help
            wait_a_moment(attempt)
        error = self._handles.connection.translate(RuntimeError(reason))
        if isinstance(error, StoreError):
            raise error
        raise StoreError(
            f"{document}: the server refused {len(left)} of {len(batch)} passages: {reason[:300]}",
            "run the command again; see also the log of the server",
        )

    def _try_batch(self, generation: int, batch: list[PassageObject]) -> tuple[list[PassageObject], str]:
        """Send one batch; return the refused objects and the reason."""
        from weaviate.classes.data import DataObject
        from weaviate.exceptions import WeaviateInsertManyAllFailedError

        def send() -> tuple[list[PassageObject], str]:
            sent = [DataObject(properties=o.properties, uuid=o.uuid, vector=o.vector) for o in batch]
            try:
                result = self._handles.passages(generation).data.insert_many(sent)
            except WeaviateInsertManyAllFailedError as exc:
                return batch, str(exc.message)
            failed = sorted(result.errors)
            return [batch[i] for i in failed], (result.errors[failed[0]].message if failed else "")

        return self._handles.call(send)

    def _verify(self, generation: int, document: Document, version: str) -> None:
        """Raise StoreError unless the server counts as many passages of this version as the document has."""
        held = 0
        for attempt in range(_ATTEMPTS):
            held = self.count(generation, [version]) if document.chunks else 0
            if held == document.chunks:
                return
            wait_a_moment(attempt)
        raise StoreError(
            f"{document.name}: the server counts {held} of {document.chunks} passages, so it was not added",
            "run the command again; if it happens again, see the log of the server",
        )

    def count(self, generation: int, versions: Sequence[str]) -> int:
        """Return the number of passages of these versions, as the server counts them."""
        from weaviate.classes.query import Filter

        where = Filter.by_property("version").contains_any(list(versions))
        found = self._handles.call(
            lambda: self._handles.passages(generation).aggregate.over_all(filters=where, total_count=True)
        )
        return int(found.total_count or 0)

    def delete_versions(self, generation: int, document_id: str, *, keep: str) -> None:
        """Delete all versions of a document but `keep`."""
        from weaviate.classes.query import Filter

        where = Filter.by_property("document_id").equal(document_id)
        if keep:
            where = where & Filter.by_property("version").not_equal(keep)
        while True:  # one call deletes at most 10,000 objects
            result = self._handles.call(lambda: self._handles.passages(generation).data.delete_many(where=where))
            if result.failed:
                raise StoreError(
                    f"the server could not delete {result.failed} of {result.matches} passages", "run the command again"
                )
            if result.matches < MAX_RESULTS:
                return

    def copy_with_vectors(
        self, source: int, target: int, records: dict[str, Record], vectors: dict[str, Vectors]
    ) -> None:
        """Copy passages by chunk id from one generation to another, with new vectors."""
        from weaviate.classes.query import Filter

        for part in parts_of(list(vectors), 500):
            where = Filter.by_property("chunk_id").contains_any(part)
            found = self._handles.call(
                partial(self._handles.passages(source).query.fetch_objects, filters=where, limit=MAX_RESULTS)
            )
            objects = []
            for one in found.objects:
                record = records.get(one.properties["document_id"])
                if record is not None and record.version == one.properties["version"]:
                    properties = {name: value for name, value in one.properties.items() if value is not None}
                    vector = vectors[one.properties["chunk_id"]].tolist()
                    objects.append(PassageObject(str(one.uuid), properties, vector))
            self._insert(target, objects, "re-embedding")

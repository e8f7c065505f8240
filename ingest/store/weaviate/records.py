"""The records of a library on the server: its own and one for each document."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict
from functools import partial
from typing import Any

from ingest.errors import StoreError
from ingest.store.contract import Document, Identity
from ingest.store.weaviate.handles import Handles
from ingest.store.weaviate.values import Record, Root, from_root, object_uuid, parts_of, to_record, to_root


class Records:
    """Reads and writes the records of one library."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles

    def root(self) -> Root | None:
        """Return the record of the library, None before the first document."""
        found = self._handles.call(lambda: self._handles.records().query.fetch_object_by_id(object_uuid("library", "")))
        return to_root(found.properties) if found is not None else None

    def insert_root(self, identity: Identity) -> None:
        """Insert the record of the library; one that another process inserted stays."""
        from weaviate.exceptions import UnexpectedStatusCodeError

        try:
            self._handles.records().data.insert(from_root(Root(identity, 1)), uuid=object_uuid("library", ""))
        except UnexpectedStatusCodeError as exc:
            if "already exists" not in str(exc):
                raise

    def write_root(self, root: Root) -> None:
        """Replace the record of the library."""
        self._handles.call(
            lambda: self._handles.records().data.replace(uuid=object_uuid("library", ""), properties=from_root(root))
        )

    def document(self, document_id: str) -> Record | None:
        """Return the record of a document, None if there is none."""
        found = self._handles.call(
            lambda: self._handles.records().query.fetch_object_by_id(object_uuid("document", document_id))
        )
        return to_record(found.properties) if found is not None else None

    def documents(self, document_ids: set[str]) -> tuple[dict[str, Record], Root | None]:
        """Return the present records of these documents, and that of the library."""
        wanted = [object_uuid("library", ""), *(object_uuid("document", one) for one in document_ids)]
        records: dict[str, Record] = {}
        root = None
        for part in parts_of(wanted, 500):
            found = self._handles.call(
                partial(self._handles.records().query.fetch_objects_by_ids, part, limit=len(part))
            )
            for one in found.objects:
                if one.properties["kind"] == "library":
                    root = to_root(one.properties)
                else:
                    records[one.properties["key"]] = to_record(one.properties)
        return records, root

    def all_documents(self) -> list[Record]:
        """Return the records of all documents."""
        return [to_record(one.properties) for one in self.all() if one.properties["kind"] == "document"]

    def all(self) -> list[Any]:
        """Return all objects of the collection of records."""
        return self._handles.call(lambda: list(self._handles.records().iterator(cache_size=500)))

    def write_document(self, document: Document, version: str) -> None:
        """Insert or replace the record of a document."""
        payload = {"document": asdict(document), "version": version, "written": uuid.uuid4().hex}
        values = {"kind": "document", "key": document.id, "payload": json.dumps(payload)}
        self.upsert(values, object_uuid("document", document.id))

    def upsert(self, values: dict[str, str], key: str) -> None:
        """Insert or replace one object; raises StoreError."""
        from weaviate.classes.data import DataObject

        result = self._handles.call(
            lambda: self._handles.records().data.insert_many([DataObject(properties=values, uuid=key)])
        )
        if result.has_errors:
            raise StoreError(f"the server refused a record: {result.errors[0].message}", "run the command again")

"""The values that are exchanged with the server: records, passage objects, their ids and versions."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import numpy as np

from ingest.embed.identity import Vectors
from ingest.store.contract import Document, Identity
from ingest.store.records import chunk_record, document_from
from ingest.text.chunks import Chunk, embedding_text
from ingest.text.words import terms

_NAMESPACE = uuid.UUID("6b0f3ad4-30a2-5c1c-8a0e-9f6a5b0d7c21")
_BATCH_OBJECTS = 500
_BATCH_BYTES = 8_000_000  # well under the 100 MB that a message may have
# all properties but the terms, which are as long as the text and only searched
RETURNED = [
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
]

Item = TypeVar("Item")


@dataclass(frozen=True)
class Root:
    """The record of the library: its identity and its current embedding generation."""

    identity: Identity
    generation: int


@dataclass(frozen=True)
class Record:
    """The record of a document and its current version; `written` changes with every write."""

    document: Document
    version: str
    written: str


@dataclass(frozen=True)
class PassageObject:
    """One passage as it is sent to the server."""

    uuid: str
    properties: dict[str, Any]
    vector: list[float]


def object_uuid(kind: str, key: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{kind}\n{key}"))


def version_of(document: Document, chunks: Sequence[Chunk], vectors: Vectors) -> str:
    """Return a hash of this content, so that writing it again after a kill writes the same objects."""
    digest = hashlib.sha256()
    for part in (document.id, document.sha256, document.source, document.title):
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    for chunk in chunks:
        digest.update(json.dumps(chunk_record(replace(chunk, document=""))).encode() + b"\0")
    digest.update(np.ascontiguousarray(vectors).tobytes())
    return digest.hexdigest()[:32]


def passage_objects(document: Document, version: str, chunks: Sequence[Chunk], vectors: Vectors) -> list[PassageObject]:
    return [
        PassageObject(
            uuid=object_uuid(version, chunk.id),
            properties={
                "text": chunk.text,
                "terms": " ".join(terms(embedding_text(chunk, source=document.file_name, title=document.title))),
                "document_id": document.id,
                "document": document.file_name,
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


def batches_of(objects: Sequence[PassageObject]) -> Iterator[list[PassageObject]]:
    """Yield the objects in batches, limited in number and in bytes."""
    batch: list[PassageObject] = []
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


def parts_of(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def among(documents: Sequence[str] | None) -> Any:
    from weaviate.classes.query import Filter

    return None if documents is None else Filter.by_property("document_id").contains_any(list(documents))


def to_chunk(values: dict[str, Any], document: Document) -> Chunk:
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


def from_root(root: Root) -> dict[str, str]:
    payload = {"identity": asdict(root.identity), "epoch": root.generation}
    return {"kind": "library", "key": "", "payload": json.dumps(payload)}


def to_root(values: dict[str, Any]) -> Root:
    payload = json.loads(values["payload"])
    return Root(Identity(**payload["identity"]), payload["epoch"])


def to_record(values: dict[str, Any]) -> Record:
    payload = json.loads(values["payload"])
    return Record(document_from(payload["document"]), payload["version"], payload["written"])

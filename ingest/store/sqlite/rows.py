"""Reads and writes rows of a library's tables."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ingest.store.contract import Document, Hit, Identity
from ingest.store.records import document_from
from ingest.text.chunks import Chunk, embedding_text

SHIFT = 24  # row of a chunk = document key << 24 | position: a document's chunks are side by side on disk
CHUNK_COLUMNS = "row, page, id, page_label, start, end, text, heading, margins, parser"
_MAX_SQL_VARIABLES = 1000  # parameters of one statement


def value(connection: sqlite3.Connection, name: str) -> str:
    row = connection.execute("SELECT value FROM library WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else ""


def set_value(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO library VALUES (?, ?)", (name, value))


def read_identity(connection: sqlite3.Connection) -> Identity | None:
    text = value(connection, "identity")
    return Identity(**json.loads(text)) if text else None


def read_generation(connection: sqlite3.Connection) -> int:
    return int(value(connection, "generation"))


def next_generation(connection: sqlite3.Connection) -> int:
    generation = read_generation(connection) + 1
    set_value(connection, "generation", str(generation))
    return generation


def delete_document(connection: sqlite3.Connection, document_id: str) -> int | None:
    row = connection.execute("SELECT key FROM documents WHERE id = ?", (document_id,)).fetchone()
    if row is None:
        return None
    key = row[0]
    deleted = connection.execute("DELETE FROM chunks WHERE row >= ? AND row < ?", (key << SHIFT, (key + 1) << SHIFT))
    connection.execute("DELETE FROM vectors WHERE document = ?", (key,))
    connection.execute("DELETE FROM documents WHERE key = ?", (key,))
    return deleted.rowcount


def document_keys(connection: sqlite3.Connection, document_ids: Sequence[str]) -> list[int]:
    ids = json.dumps(list(document_ids))
    rows = connection.execute("SELECT key FROM documents WHERE id IN (SELECT value FROM json_each(?))", (ids,))
    return [key for (key,) in rows]


def read_hits(connection: sqlite3.Connection, found: Sequence[tuple[int, float]]) -> list[Hit]:
    """Return the chunks of (row, score) pairs in the given order."""
    chunks: dict[int, tuple[Any, ...]] = {}
    for start in range(0, len(found), _MAX_SQL_VARIABLES):
        rows = [row for row, _ in found[start : start + _MAX_SQL_VARIABLES]]
        marks = ",".join("?" * len(rows))
        query = f"SELECT {CHUNK_COLUMNS} FROM chunks WHERE row IN ({marks})"  # noqa: S608
        chunks.update((values[0], values) for values in connection.execute(query, rows))
    named = "SELECT id, json_extract(record, '$.name') FROM documents WHERE key = ?"
    documents = {key: connection.execute(named, (key,)).fetchone() for key in {row >> SHIFT for row, _ in found}}
    return [Hit(to_chunk(chunks[row], *documents[row >> SHIFT]), score) for row, score in found]


def key_and_name(connection: sqlite3.Connection, document_id: str) -> tuple[int, str] | None:
    """Return a document's key and name; parsing the whole record takes a hundred times as long."""
    named = "SELECT key, json_extract(record, '$.name') FROM documents WHERE id = ?"
    row: tuple[int, str] | None = connection.execute(named, (document_id,)).fetchone()
    return row


def indexed_chunks(connection: sqlite3.Connection) -> Callable[[int], Iterator[tuple[int, str]]]:
    def chunks(key: int) -> Iterator[tuple[int, str]]:
        (record,) = connection.execute("SELECT record FROM documents WHERE key = ?", (key,)).fetchone()
        document = to_document(record)
        rows = connection.execute(
            f"SELECT {CHUNK_COLUMNS} FROM chunks WHERE row >= ? AND row < ?",  # noqa: S608
            (key << SHIFT, (key + 1) << SHIFT),
        )
        for row in rows:
            chunk = to_chunk(row, document.id, document.name)
            yield row[0], embedding_text(chunk, source=document.file_name, title=document.title)

    return chunks


def record_text(document: Document) -> str:
    return json.dumps(asdict(document))


def to_document(text: str) -> Document:
    return document_from(json.loads(text))


def chunk_row(row: int, chunk: Chunk) -> tuple[Any, ...]:
    margins = json.dumps(chunk.running_lines) if chunk.running_lines else ""
    return (
        row,
        chunk.page,
        chunk.id,
        chunk.page_label,
        chunk.start,
        chunk.end,
        chunk.text,
        chunk.heading,
        margins,
        chunk.parser,
    )


def to_chunk(row: tuple[Any, ...], document_id: str, document: str) -> Chunk:
    _, page, chunk_id, page_label, start, end, text, heading, margins, parser = row
    ranges = tuple((a, b) for a, b in json.loads(margins)) if margins else ()
    return Chunk(
        chunk_id,
        document_id,
        document,
        page,
        page_label,
        start,
        end,
        text,
        heading,
        running_lines=ranges,
        parser=parser,
    )

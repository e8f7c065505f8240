"""Records as rows of one JSON Lines file, which training reads back as the same records."""

import gzip
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from finetune.data.records import Conversation, Record, Text
from finetune.data.sources.chat_formats import is_guanaco, is_rendered
from finetune.data.sources.fields import GROUP_FIELD
from finetune.errors import DataError
from quire import UsageError, strict_json

SUFFIXES = (".jsonl", ".jsonl.gz")


def row_of(record: Record) -> dict[str, Any]:
    """Return a record as a row in a format that is detected: messages, preference, kto or text.

    The row keeps the record's group, so that a split holds out the same records.
    """
    row = record.to_dict()
    if isinstance(record, Text) and (is_guanaco(row) or is_rendered(row)):
        row["format"] = "text"  # plain text that looks like a transcript
    return {**row, GROUP_FIELD: record.group} if record.group else row


def write_rows(records: Sequence[Record], path: Path) -> None:
    """Write records to a .jsonl or .jsonl.gz file, which appears when it is complete.

    The same records give the same bytes. Raises UsageError for records that no one format can hold.
    """
    _require_one_kind(records)
    with _open_for_rows(path) as file:
        for record in records:
            file.write(strict_json(row_of(record)) + "\n")


def require_rows_file(path: Path, *, flag: str, overwrite: bool) -> None:
    """Raise UsageError for a path that rows cannot be written to: another type, or an existing file."""
    if not path.name.lower().endswith(SUFFIXES):
        raise UsageError(f"{flag} {path} is not a .jsonl file", f"name a file that ends in {' or '.join(SUFFIXES)}")
    if path.is_dir():
        raise UsageError(f"{flag} {path} is a folder", "name a file in it")
    if path.exists() and not overwrite:
        raise UsageError(f"{flag} {path} exists", "name another file, or replace it with --force")


def _require_one_kind(records: Sequence[Record]) -> None:
    kinds = sorted({type(record).__name__.lower() for record in records})
    if len(kinds) < 2:
        return
    if kinds == sorted({Conversation.__name__.lower(), Text.__name__.lower()}):
        hint = "write one file for each: training takes several"
    else:
        hint = "convert them for one task with --task, or write one file for each"
    raise UsageError(f"one file cannot hold records of {len(kinds)} kinds: {', '.join(kinds)}", hint)


@contextmanager
def _open_for_rows(path: Path) -> Iterator[io.TextIOBase]:
    """Open a text file beside `path` that replaces it at the end of the block, and is removed if that fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as raw:
            if path.name.lower().endswith(".gz"):
                # without a name and a time in its header, the same rows give the same bytes
                with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed, _as_text(packed) as file:
                    yield file
            else:
                with _as_text(raw) as file:
                    yield file
        temporary.replace(path)
    except OSError as exc:
        raise DataError(f"{path} cannot be written: {exc}", "name another file") from exc
    finally:
        with suppress(OSError):  # its folder may not exist
            temporary.unlink(missing_ok=True)


def _as_text(binary: Any) -> io.TextIOWrapper:
    return io.TextIOWrapper(binary, encoding="utf-8", newline="\n")

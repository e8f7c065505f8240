"""Rows of files: JSON, JSON Lines, CSV, Parquet and text, plain or gzipped."""

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from finetune.data.sources.csv_rows import DELIMITERS, csv_rows, delimiter_of
from finetune.data.sources.json_rows import json_file, json_lines, json_list, left_out_splits
from finetune.data.sources.row import Row, is_encodable
from finetune.errors import MissingLibrary, SourceUnavailable
from quire import require_extra

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt")
_OTHER_FILES = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "export the sheet as CSV, or unpack the archive"),
    (b"%PDF", "a PDF file", "`quire ingest` reads PDF files; training needs rows"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it: zstd -d"),
    (b"BZh", "compressed with bzip2", "unpack it: bunzip2"),
    (b"\xfd7zXZ", "compressed with xz", "unpack it: unxz"),
    (b"\x80\x04", "a pickle file, which can run code", "save the rows as JSON Lines or Parquet"),
    (b"SQLite format 3", "a SQLite database", "export the table as CSV"),
    (b"PAR1", "a Parquet file", "give it the ending .parquet"),
    (b"ARROW1", "an Arrow file", "save the rows as Parquet"),
)


def read_rows(path: Path) -> Iterator[Row]:
    """Read the rows of one file in order; a row that cannot be parsed has an `error` and no values.

    Raises SourceUnavailable for a missing or unreadable file.
    """
    if not path.is_file():
        raise SourceUnavailable(
            f"there is no file {path}", "check the path, or name a data set from `quire finetune data list`"
        )
    suffixes = [s.lower() for s in path.suffixes]
    kind = next((s for s in reversed(suffixes) if s in SUFFIXES), "")
    if kind == ".parquet":
        return _parquet(path)
    if path.suffix == ".arrow":
        return _arrow(path)
    text = _text(path)
    rows = _rows_of_text(text, kind)
    return rows if text.isascii() or is_encodable(text) else _readable(rows)


def file_notices(path: Path) -> list[str]:
    """Return what was decided about a file: another delimiter than usual, or splits that are not read."""
    if path.suffix.lower() in (".csv", ".tsv"):
        usual = "," if path.suffix.lower() == ".csv" else "\t"
        found = delimiter_of(_text(path), usual)
        return [] if found == usual else [f"{path.name}: read with the delimiter {DELIMITERS[found]}"]
    if path.suffix.lower() == ".json" and (splits := left_out_splits(_text(path))):
        return [f"{path.name}: left out, as they are other splits: {', '.join(splits)}"]
    return []


def _rows_of_text(text: str, kind: str) -> Iterator[Row]:
    if kind in (".csv", ".tsv"):
        return csv_rows(text, "\t" if kind == ".tsv" else ",")
    if kind == ".txt":
        return _paragraphs(text)
    # a .jsonl file may be one list of rows, a .json file JSON Lines, and a file without a suffix either
    if text.lstrip()[:1] == "[":
        return json_list(text)
    return json_lines(text) if kind in (".jsonl", ".ndjson") else json_file(text)


def _text(path: Path) -> str:
    """Return the text of a file; bytes that are not UTF-8 become surrogates, by which their rows are found."""
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as exc:
        raise SourceUnavailable(f"{path} cannot be read: {exc}", "check the file, or download it again") from exc
    for magic, what, hint in _OTHER_FILES:
        if raw.startswith(magic):
            raise SourceUnavailable(f"{path} is {what}, not rows of text", hint)
    try:
        if raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return raw.decode("utf-16").lstrip("\ufeff")
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("utf-8-sig", "surrogateescape")


def _readable(rows: Iterator[Row]) -> Iterator[Row]:
    """Replace rows with bytes that are not UTF-8 by their error."""
    for row in rows:
        if row.error or is_encodable(row.values):
            yield row
        else:
            yield Row(
                row.number, row.line, {}, "not UTF-8 text: save the file as UTF-8 (it may be Windows-1252 or Latin-1)"
            )


def _paragraphs(text: str) -> Iterator[Row]:
    number, start, block = 0, 1, list[str]()
    for line, content in enumerate([*re.split(r"\r\n|\n|\r", text), ""], start=1):
        if content.strip():
            if not block:
                start = line
            block.append(content)
        elif block:
            number += 1
            yield Row(number, start, {"text": "\n".join(block)})
            block = []


def _parquet(path: Path) -> Iterator[Row]:
    require_extra("finetune", "pyarrow", purpose=f"reading {path}", error=MissingLibrary)
    from pyarrow import ArrowException  # type: ignore[import-untyped]
    from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

    try:
        with ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, number, values)
    except (ArrowException, OSError) as exc:
        raise SourceUnavailable(f"{path} cannot be read: {exc}", "check the file, or download it again") from exc


def _arrow(path: Path) -> Iterator[Row]:
    """Read a file of a data set that `save_to_disk` of the library `datasets` wrote."""
    require_extra("finetune", "pyarrow", purpose=f"reading {path}", error=MissingLibrary)
    from pyarrow import ArrowException, ipc

    try:
        with path.open("rb") as stream:
            number = 0
            for batch in ipc.open_stream(stream):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, number, values)
    except (ArrowException, OSError) as exc:
        raise SourceUnavailable(f"{path} cannot be read: {exc}", "check the file, or copy it again") from exc

"""Rows of files: JSON, JSON Lines, CSV, Parquet and text, plain or gzipped."""

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from finetune.errors import MalformedRow, MissingLibrary, SourceUnavailable
from quire import require_extra

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt")


class Row(NamedTuple):
    """One row of a file, its number and first line (1-based); `error` is why a row has no values."""

    number: int
    line: int
    values: dict[str, Any]
    error: str = ""


def data_files(folder: Path) -> list[Path]:
    """Return the files of a folder that rows are read from, in order; subfolders are not searched."""
    return [
        file
        for file in sorted(folder.iterdir())
        if file.is_file() and any(suffix.lower() in SUFFIXES for suffix in file.suffixes)
    ]


def read_rows(path: Path) -> Iterator[Row]:
    """Read the rows of one file in order; a row that cannot be parsed has an `error` and no values.

    Raises SourceUnavailable for a missing or unreadable file, MalformedRow if no row after an error can be read.
    """
    if not path.is_file():
        raise SourceUnavailable(
            f"there is no file {path}", "check the path, or name a data set from `quire finetune data list`"
        )
    suffixes = [s.lower() for s in path.suffixes]
    kind = next((s for s in reversed(suffixes) if s in SUFFIXES), "")
    if kind == ".parquet":
        return _parquet(path)
    text = _text(path)
    if kind in (".csv", ".tsv"):
        return _csv(text, "\t" if kind == ".tsv" else ",")
    if kind == ".txt":
        return _paragraphs(text)
    if kind in (".jsonl", ".ndjson") and text.lstrip()[:1] != "[":
        return _lines(text)
    # a .jsonl file may be one list of rows, a .json file JSON Lines, and a file without a suffix either
    return _array(text, path) if text.lstrip()[:1] == "[" else _json_or_lines(text)


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
        return raw.decode("utf-8-sig")
    except (OSError, EOFError) as exc:
        raise SourceUnavailable(f"{path} cannot be read: {exc}", "check the file, or download it again") from exc
    except UnicodeDecodeError as exc:
        line = raw[: exc.start].count(b"\n") + 1
        raise MalformedRow(str(path), line, "not UTF-8 text", "save the file as UTF-8") from exc


def _reject_constant(value: str) -> float:
    raise ValueError(f"{value} is not a JSON number")


_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_DECODER = json.JSONDecoder(parse_constant=_reject_constant)


def _as_row(number: int, line: int, value: object, source_text: str = "") -> Row:
    if isinstance(value, dict):
        if _SURROGATE.search(source_text) and not _is_encodable(value):
            return Row(
                number, line, {}, r"contains half of a surrogate pair (\ud800 to \udfff), which is not a character"
            )
        return Row(number, line, value)
    return Row(number, line, {}, f"a row must be an object with named fields, found {type(value).__name__}")


def _is_encodable(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _parsed(number: int, line: int, text: str) -> Row:
    try:
        return _as_row(number, line, _DECODER.decode(text), text)
    except json.JSONDecodeError as exc:
        return Row(number, line, {}, f"not JSON: {exc.msg} at column {exc.colno}")
    except (ValueError, RecursionError) as exc:
        return Row(number, line, {}, f"not JSON: {exc}")


def _lines(text: str) -> Iterator[Row]:
    # not str.splitlines: U+2028 and others in a text do not end a line of JSON Lines
    number = 0
    for line, content in enumerate(text.split("\n"), start=1):
        if content.strip():
            number += 1
            yield _parsed(number, line, content.rstrip("\r"))


def _json_or_lines(text: str) -> Iterator[Row]:
    try:
        whole = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return _lines(text)
    lists = [v for v in whole.values() if isinstance(v, list)] if isinstance(whole, dict) else []
    if len(lists) == 1 and lists[0] and all(isinstance(v, dict) for v in lists[0]) and len(whole) <= 3:
        for key in ("data", "rows", "train"):
            if whole.get(key) is lists[0]:
                return (_as_row(n, 1, v) for n, v in enumerate(lists[0], start=1))
    return iter([_as_row(1, 1, whole)])


def _array(text: str, path: Path) -> Iterator[Row]:
    position, line, counted, number = text.index("[") + 1, 1, 0, 0
    while True:
        while position < len(text) and text[position] in " \t\r\n,":
            position += 1
        line += text.count("\n", counted, position)
        counted = position
        if position >= len(text):
            raise MalformedRow(str(path), line, "the list of rows is not closed by ']'", "the file may be incomplete")
        if text[position] == "]":
            return
        number += 1
        start = position
        try:
            value, position = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as exc:
            raise MalformedRow(
                str(path), line, f"not JSON: {exc}", "correct the row; the rows after it cannot be read"
            ) from exc
        yield _as_row(number, line, value, text[start:position])


def _csv(text: str, delimiter: str) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 0
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            yield Row(number + 1, line, {}, f"not CSV: {exc}")
            return
        number += 1
        if None in values or None in values.values():
            yield Row(number, line, {}, f"does not have the {len(reader.fieldnames or [])} fields of the header")
        else:
            yield Row(number, line, dict(values))


def _paragraphs(text: str) -> Iterator[Row]:
    number, start, block = 0, 1, list[str]()
    for line, content in enumerate([*text.split("\n"), ""], start=1):
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

"""Rows of JSON as tools write it: lines, one list, objects one after the other, columns, splits."""

import json
import re
from collections.abc import Iterator
from typing import Any

from finetune.data.sources.row import Row, is_encodable

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_ENDS_OF_LINE = re.compile(r"\r\n|\n|\r")
_BLANK = " \t\r\n,\ufeff"
_ROW_LISTS = ("data", "rows", "train", "training")
_OTHER_SPLITS = ("test", "validation", "valid", "val", "dev", "eval")


class _NotANumber(ValueError):
    """NaN or Infinity, which Python writes and JSON does not have."""


def _reject_constant(value: str) -> float:
    raise _NotANumber(f"{value} is not a JSON number")


_DECODER = json.JSONDecoder(parse_constant=_reject_constant)
_LENIENT = json.JSONDecoder()


def json_lines(text: str) -> Iterator[Row]:
    """Read one object a line; a comma after it and a byte order mark before it, as joined files have, are allowed."""
    # not str.splitlines: U+2028 and others in a text do not end a line of JSON Lines
    number, line, position = 0, 0, 0
    while position < len(text):
        line += 1
        found = _ENDS_OF_LINE.search(text, position)
        content = text[position : found.start() if found else len(text)]
        position = found.end() if found else len(text)
        if content := content.strip(_BLANK):
            number += 1
            yield _parsed(number, line, content)


def json_file(text: str) -> Iterator[Row]:
    """Read a whole JSON value, objects of several lines one after the other, or JSON Lines."""
    try:
        whole = _DECODER.decode(text)
    except (ValueError, RecursionError):
        first = text.lstrip(_BLANK).split("\n", 1)[0]
        return json_lines(text) if _is_object(first.strip(_BLANK)) else _several(text)
    return iter(_rows_of(whole))


def json_list(text: str) -> Iterator[Row]:
    """Read the rows of one list; a row that is not JSON has an error, and the next one that begins like it is read."""
    position, line, counted, number = text.index("[") + 1, 1, 0, 0
    while True:
        while position < len(text) and text[position] in _BLANK:
            position += 1
        line += text.count("\n", counted, position)
        counted = position
        if position >= len(text):
            yield Row(number + 1, line, {}, "the list of rows is not closed by ']': the file may be incomplete")
            return
        if text[position] == "]":
            return
        number += 1
        row, end = _next(text, position, number, line)
        yield row
        if end < 0:
            return
        position = end


def _next(text: str, start: int, number: int, line: int) -> tuple[Row, int]:
    """Return the row at a position of a list, and where the next one may begin; -1 if nothing after it can be read."""
    try:
        value, end = _DECODER.raw_decode(text, start)
        return _as_row(number, line, value, text[start:end]), end
    except _NotANumber as exc:
        return Row(number, line, {}, f"not JSON: {exc}"), _LENIENT.raw_decode(text, start)[1]
    except (ValueError, RecursionError) as exc:
        margin = text.rfind("\n", 0, start) + 1
        indent = text[margin:start]
        again = text.find(f"\n{indent}{{", start) if not indent.strip() and margin else -1
        rest = "" if again >= 0 else "; the rows after it cannot be read"
        return Row(number, line, {}, f"not JSON: {exc}{rest}"), again


def _several(text: str) -> Iterator[Row]:
    """Read objects one after the other, each of several lines; lines if they are none."""
    position, number, rows = 0, 0, list[Row]()
    while True:
        while position < len(text) and text[position] in _BLANK:
            position += 1
        if position >= len(text):
            return iter(rows)
        number += 1
        line = text.count("\n", 0, position) + 1
        try:
            value, position = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as exc:
            if not rows:
                return json_lines(text)
            return iter([*rows, Row(number, line, {}, f"not JSON: {exc}; the rows after it cannot be read")])
        rows.append(_as_row(number, line, value))


def _rows_of(whole: Any) -> list[Row]:
    """Return the rows of one JSON value: of the list in it, of its columns, or the value as a row."""
    if not isinstance(whole, dict):
        return [_as_row(1, 1, whole)]
    lists = {k: v for k, v in whole.items() if isinstance(v, list) and v and all(isinstance(i, dict) for i in v)}
    main = next((name for name in _ROW_LISTS if name in lists), "")
    if main and all(
        name == main or name.lower() in _OTHER_SPLITS or not isinstance(v, list) for name, v in whole.items()
    ):
        return [_as_row(n, 1, value) for n, value in enumerate(lists[main], start=1)]
    if columns := _columns(whole):
        return [_as_row(n, 1, value) for n, value in enumerate(columns, start=1)]
    return [_as_row(1, 1, whole)]


def left_out_splits(text: str) -> list[str]:
    """Return the splits beside the rows of a JSON object that are not read."""
    if text.lstrip()[:1] != "{":
        return []
    try:
        whole = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return []
    return [name for name in whole if name.lower() in _OTHER_SPLITS and isinstance(whole[name], list)]


def _columns(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of `{"instruction": [...], "output": [...]}`, or of pandas' `{"instruction": {"0": ...}}`."""
    values = list(whole.values())
    if len(whole) < 2:
        return []
    if all(isinstance(v, list) for v in values) and all(isinstance(v[0], str) for v in values if v):
        cells = values
    elif all(isinstance(v, dict) and v and all(k.isdigit() for k in v) for v in values):
        if any(v.keys() != values[0].keys() for v in values):
            return []
        cells = [list(v.values()) for v in values]
    else:
        return []
    if not cells[0] or any(len(column) != len(cells[0]) for column in cells):
        return []
    return [dict(zip(whole, row, strict=True)) for row in zip(*cells, strict=True)]


def _is_object(text: str) -> bool:
    try:
        return isinstance(_LENIENT.decode(text), dict)
    except (ValueError, RecursionError):
        return False


def _as_row(number: int, line: int, value: object, source_text: str = "") -> Row:
    if isinstance(value, dict):
        if _SURROGATE.search(source_text) and not is_encodable(value):
            return Row(
                number, line, {}, r"contains half of a surrogate pair (\ud800 to \udfff), which is not a character"
            )
        return Row(number, line, value)
    return Row(number, line, {}, f"a row must be an object with named fields, found {type(value).__name__}")


def _parsed(number: int, line: int, text: str) -> Row:
    try:
        return _as_row(number, line, _DECODER.decode(text), text)
    except json.JSONDecodeError as exc:
        return Row(number, line, {}, f"not JSON: {exc.msg} at column {exc.colno}")
    except (ValueError, RecursionError) as exc:
        return Row(number, line, {}, f"not JSON: {exc}")

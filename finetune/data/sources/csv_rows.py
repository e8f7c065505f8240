"""Rows of CSV and TSV files; a fault in one row does not end the reading of the others."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from finetune.data.sources.row import Row

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_DELIMITER_LINE = re.compile(r"\A\s*sep=([,;|\t])[ \t]*(?:\r\n|\n|\r)")
_MAX_FAULTS = 1000  # each one reads the rest of the file again
_LONGEST_CELL = 2**31 - 1  # the library's own limit is 131,072 characters


def csv_rows(text: str, usual: str) -> Iterator[Row]:
    """Read the rows of a table whose delimiter is `usual`, or another one that its header has more of.

    A field of the header that has no name, or one twice, is an error of the first row.
    """
    csv.field_size_limit(_LONGEST_CELL)
    delimiter = delimiter_of(text, usual)
    text = _DELIMITER_LINE.sub("\n", text, count=1)  # an empty line, so that lines keep their numbers
    if delimiter == "\t" and not _is_quoted(text):
        return _read(text, delimiter, csv.QUOTE_NONE)
    return _read(text, delimiter, csv.QUOTE_MINIMAL)


def delimiter_of(text: str, usual: str) -> str:
    """Return the delimiter that Excel's first line names, or that the header has most of; `usual` if it has it, or none."""
    if given := _DELIMITER_LINE.match(text):
        return given[1]
    header = text.lstrip("\r\n").split("\n", 1)[0]
    counts = Counter({mark: header.count(mark) for mark in DELIMITERS})
    return usual if counts[usual] or not any(counts.values()) else counts.most_common(1)[0][0]


def _is_quoted(text: str) -> bool:
    """Return whether the quotes of a TSV file are those of its cells; a cell may as well begin with a quotation."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True)
    try:
        widths = {len(cells) for cells in reader if cells}
    except csv.Error:
        return False
    return len(widths) == 1


def _read(text: str, delimiter: str, quoting: int) -> Iterator[Row]:
    lines = io.StringIO(text, newline="").readlines()
    header, first = _header(lines, delimiter, quoting)
    names = [name.strip() for name in header]
    if problem := _problem_of_header(names):
        yield Row(1, first, {}, problem)
        return
    number, start, faults = 0, first, 0
    while start < len(lines):
        reader = csv.reader(
            islice(lines, start, None),
            delimiter=delimiter,
            quoting=quoting,  # type: ignore[arg-type]
            strict=True,
            skipinitialspace=any(name.startswith(" ") for name in header),  # "a, b": the cells are written alike
        )
        read = 0
        try:
            for cells in reader:
                line, read = start + read + 1, reader.line_num
                if cells:
                    number += 1
                    yield _row(number, line, names, cells)
            return
        except csv.Error as exc:
            number += 1
            faults += 1
            rest = "; the rest of the file is not read" if faults == _MAX_FAULTS else ""
            yield Row(number, start + read + 1, {}, f"not CSV: {exc}{rest}")
            start += read + 1  # goes on in the line after the one in which the row began
            if rest:
                return


def _header(lines: list[str], delimiter: str, quoting: int) -> tuple[list[str], int]:
    """Return the names in the header, and the number of lines up to its end."""
    reader = csv.reader(iter(lines), delimiter=delimiter, quoting=quoting)  # type: ignore[arg-type]
    for cells in reader:
        if cells:
            return cells, reader.line_num
    return [], len(lines)


def _problem_of_header(names: list[str]) -> str:
    if twice := next((name for name, count in Counter(names).items() if count > 1 and name), ""):
        return f"the header has the name {twice!r} twice: one column would hide the other"
    return ""


def _row(number: int, line: int, names: list[str], cells: list[str]) -> Row:
    if len(cells) != len(names):
        return Row(number, line, {}, f"has {len(cells)} fields; the header has {len(names)} fields")
    # cells of several lines keep one kind of line end, whatever the file has
    values = {name: cell.replace("\r\n", "\n").replace("\r", "\n") for name, cell in zip(names, cells, strict=True)}
    return Row(number, line, values)

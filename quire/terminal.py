"""What commands print: errors with their hints, plurals ("3 files"), JSON, and text made safe."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from typing import Any

from quire.errors import QuireError, UsageError

_LAYOUT = "\n\t"  # control characters that errors may have


def printable(text: str, *, keep: str = "") -> str:
    """Return text with a replacement character for each control character but those in `keep`.

    Names and texts of PDFs, models and servers must not steer the terminal.
    """
    return "".join(c if c.isprintable() or c in keep else "\ufffd" for c in text)


def one_line(text: str, *, limit: int | None = None) -> str:
    """Return text as one line without control characters, shortened to `limit` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if limit is None or len(line) <= limit else f"{line[: limit - 1]}…"


def encodable(text: str) -> str:
    """Return text that UTF-8 can encode: each lone surrogate, as of a file name with other bytes, becomes `?`."""
    return text.encode("utf-8", "replace").decode("utf-8")


def pluralize(number: int, noun: str, *, width: int = 0) -> str:
    """Return `1 page` or `2 pages`; in a column (`width` of the number) both forms have the same width."""
    end = "s" if number != 1 else " " if width else ""
    return f"{number:>{width}} {noun}{end}"


def print_error(exc: QuireError) -> None:
    """Print an error and its hint to stderr."""
    print(f"error: {printable(exc.message, keep=_LAYOUT)}", file=sys.stderr)
    if exc.hint:
        print(f"  fix: {printable(exc.hint, keep=_LAYOUT)}", file=sys.stderr)


def exit_code(command: Callable[[], int]) -> int:
    """Run a command and return its exit code; print a QuireError and return 2 for wrong usage, 1 for others."""
    try:
        return int(command())
    except QuireError as exc:
        print_error(exc)
        return 2 if isinstance(exc, UsageError) else 1


def strict_json(value: Any, *, indent: int | None = None) -> str:
    """Return JSON text; numbers that are not finite are null, because JSON has neither NaN nor Infinity."""
    return json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def print_json(value: Any) -> None:
    """Print one JSON object to stdout."""
    print(strict_json(value))

"""One row of a file as it was read, before its format is known."""

import json
from typing import Any, NamedTuple


class Row(NamedTuple):
    """One row of a file, its number and first line (1-based); `error` is why a row has no values."""

    number: int
    line: int
    values: dict[str, Any]
    error: str = ""


def is_encodable(value: object) -> bool:
    """Return whether all texts in a value are made of characters, without halves of a surrogate pair."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True

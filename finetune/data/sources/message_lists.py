"""Lists of messages in every form that files give them: lists, columns, and JSON or Python text."""

import ast
import json
import re
from typing import Any

from finetune.errors import InvalidRecord

ROLE_KEYS = ("role", "from", "speaker")
CONTENT_KEYS = ("content", "value", "text")
_OPENS_LIKE_MESSAGES = re.compile(r"""\s*(?:array\()?\s*\[?\s*\{\s*['"](?:role|from|content|value)['"]\s*:""")


def as_message_list(value: Any) -> Any:
    """Return a value as a list of messages where it stands for one, else the value as it is.

    Columns (`{"from": [...], "value": [...]}`) are turned into messages, and JSON or Python text is parsed. Raises
    InvalidRecord for a text that begins like a list of messages and cannot be parsed.
    """
    if isinstance(value, str):
        return _parse(value)
    return _of_columns(value) if isinstance(value, dict) else value


def holds_messages(value: Any, *, strict: bool = False) -> bool:
    """Return whether a field holds a list of messages in any form; without `strict`, any list counts."""
    if isinstance(value, list):
        return not strict or (bool(value) and all(isinstance(item, dict) for item in value))
    if isinstance(value, dict):
        return isinstance(_of_columns(value), list)
    return isinstance(value, str) and bool(_OPENS_LIKE_MESSAGES.match(value))


def _of_columns(value: dict[str, Any]) -> Any:
    columns = {key: column for key, column in value.items() if isinstance(column, list)}
    has_both = set(columns) & set(ROLE_KEYS) and set(columns) & set(CONTENT_KEYS)
    if not has_both or len({len(column) for column in columns.values()}) != 1:
        return value
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _parse(text: str) -> Any:
    if not _OPENS_LIKE_MESSAGES.match(text):
        return text
    found = parse_text(text)
    if isinstance(found, dict):
        found = _of_columns(found) if isinstance(_of_columns(found), list) else [found]
    if isinstance(found, list) and all(isinstance(item, dict) for item in found):
        return found
    raise InvalidRecord("a text begins like a list of messages and cannot be read as one: it may be truncated")


def parse_text(text: str) -> Any:
    """Return the value of JSON or Python text, None for any other; nothing is evaluated."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    plain = re.sub(r"\barray\((?=\s*\[)", "(", re.sub(r",\s*dtype=\w+\s*\)", ")", text))
    for candidate in (plain, re.sub(r"\}\s*\n\s*\{", "},{", plain)):  # pandas prints arrays without commas
        try:
            return ast.literal_eval(candidate.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return None

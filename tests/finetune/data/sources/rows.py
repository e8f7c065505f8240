"""Messages and files of rows for the tests of this folder."""

import json
from pathlib import Path

from finetune.templates.messages import Message

U, A, S = (lambda t: Message("user", t)), (lambda t: Message("assistant", t)), (lambda t: Message("system", t))


def write(folder: Path, rows: list, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n", encoding="utf-8")
    return path

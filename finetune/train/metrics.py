"""The metrics of a run: metrics.jsonl, one line for each time that the trainer logs."""

import json
from pathlib import Path
from typing import Any

from quire import strict_json

_FILE = "metrics.jsonl"


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics; empty when nothing was logged."""
    path = folder / _FILE
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def append_metrics(folder: Path, line: dict[str, Any]) -> None:
    """Add one line to a run's metrics."""
    with (folder / _FILE).open("a", encoding="utf-8") as stream:
        stream.write(strict_json(line) + "\n")


def truncate_metrics(folder: Path, step: int) -> list[dict[str, Any]]:
    """Remove the lines after a step, from which a resumed run continues, and return those that remain."""
    kept = [line for line in read_metrics(folder) if line["step"] <= step]
    if (folder / _FILE).is_file():
        (folder / _FILE).write_text("".join(strict_json(line) + "\n" for line in kept), encoding="utf-8")
    return kept

"""One table on the screen and the same figures as JSON in bench-out."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OUT = Path("bench-out")


def show(name: str, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of equal keys as a table and write them to bench-out/NAME.json."""
    columns = list(rows[0]) if rows else []
    cells = [columns, *([_cell(row[c]) for c in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    print(f"\n{title}")
    for number, line in enumerate(cells):
        print("  " + "  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip())
        if number == 0:
            print("  " + "  ".join("-" * width for width in widths))
    OUT.mkdir(exist_ok=True)
    about = {"machine": platform.machine(), "python": platform.python_version(), "system": platform.system()}
    (OUT / f"{name}.json").write_text(json.dumps({"title": title, **about, "rows": rows}, indent=1), encoding="utf-8")


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

"""The fitted numbers of the ranking and of the probability, with how they were fitted."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

WEIGHTS_FILE = Path(__file__).with_name("ranking_weights.json")


@cache
def stored_weights() -> dict[str, Any]:
    """Return the content of ranking_weights.json."""
    stored: dict[str, Any] = json.loads(WEIGHTS_FILE.read_text(encoding="utf-8"))
    return stored

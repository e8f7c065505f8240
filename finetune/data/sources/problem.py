"""A problem with one row of training data, and whether the row was dropped because of it."""

from dataclasses import dataclass
from typing import Any

from finetune.errors import InvalidRecord, MalformedRow, NotHonored

# kinds by a word of the reason, the more specific words first
_KINDS = (
    ("unequal", "unequal beginning"),
    ("empty", "empty"),
    ("equal", "equal answers"),
    ("wrong role", "wrong roles"),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem with a row (1-based): `kind` is a short name to count by, `problem` a sentence."""

    row: int
    problem: str
    kind: str = "invalid"
    dropped: bool = False
    source: str = ""
    line: int = 0

    @staticmethod
    def malformed(error: MalformedRow) -> "Problem":
        """Return the problem of a row that does not fit its format."""
        return Problem(error.row, error.problem, "malformed", True, error.source, error.line)

    @staticmethod
    def invalid(error: InvalidRecord, row: int, line: int, source: str) -> "Problem":
        """Return the problem of a row that fits its format and has nothing to train on."""
        kind = next((kind for word, kind in _KINDS if word in error.message), "left out")
        kind = "not supported" if isinstance(error, NotHonored) else kind
        return Problem(row, error.message, kind, True, source, line)

    def to_dict(self) -> dict[str, Any]:
        """Return the problem as plain values, without an unknown file or line."""
        plain: dict[str, Any] = {"row": self.row, "problem": self.problem, "kind": self.kind, "dropped": self.dropped}
        if self.source:
            plain["file"] = self.source
        if self.line:
            plain["line"] = self.line
        return plain

"""What is wrong with one row of training data, and whether the row was left out for it."""

from dataclasses import dataclass
from typing import Any

from finetune.errors import MalformedRow


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about a row (1-based): `kind` is a short name to count by, `problem` a sentence."""

    row: int
    problem: str
    kind: str = "invalid"
    dropped: bool = False
    source: str = ""
    line: int = 0

    @staticmethod
    def of(fault: MalformedRow, *, dropped: bool) -> "Problem":
        """Make the finding of a malformed row."""
        return Problem(fault.row, fault.problem, "malformed", dropped, fault.source, fault.line)

    def to_dict(self) -> dict[str, Any]:
        """Give the finding as plain values; keys without a value are left out."""
        plain: dict[str, Any] = {"row": self.row, "problem": self.problem, "kind": self.kind, "dropped": self.dropped}
        if self.source:
            plain["file"] = self.source
        if self.line:
            plain["line"] = self.line
        return plain

"""How many of a thing there are, as people say it: 1 page, 2 pages."""

from __future__ import annotations


def counted(number: int, noun: str, *, width: int = 0) -> str:
    """Return a number with its noun in the right form; in a column (`width` of the number) both forms are as wide."""
    end = "s" if number != 1 else " " if width else ""
    return f"{number:>{width}} {noun}{end}"

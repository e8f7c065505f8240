"""The base of all errors that are shown to people, and the error for wrong usage."""

from __future__ import annotations


class QuireError(Exception):
    """Base of all errors: `message` says what was found and where, `hint` what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(QuireError):
    """A setting, flag or argument is not valid; exit code 2."""

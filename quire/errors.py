"""The base of every error that is shown to a person, and the one for wrong usage."""

from __future__ import annotations


class QuireError(Exception):
    """Base of the errors of all packages: `message` says what was found and where, `hint` what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(QuireError):
    """A setting, a flag or an argument cannot be used; exit code 2."""

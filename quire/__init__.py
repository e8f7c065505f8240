"""The command `quire`, and the little that all packages share."""

from quire.lazy import public_names

__getattr__, __dir__ = public_names(__name__)

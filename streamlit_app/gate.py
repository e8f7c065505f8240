"""The door of a page that listens beyond this machine: one password, compared in constant time, slower after wrong ones."""

from __future__ import annotations

import hmac
import threading
import time

_FREE_TRIES = 5  # wrong passwords before the door slows down
_LONGEST_SECONDS = 60.0


class Gate:
    """One for the process: wrong tries count together, wherever they come from."""

    def __init__(self, password: str) -> None:
        self._password = password
        self._lock = threading.Lock()
        self._wrong = 0
        self._shut_until = 0.0

    def seconds_shut(self) -> float:
        """Return how long no try is taken any more, 0 where one is."""
        return max(0.0, self._shut_until - time.monotonic())

    def lets_in(self, given: str) -> bool:
        """Say whether a password is right; a wrong one after several shuts the door for a while that doubles."""
        with self._lock:
            if self.seconds_shut() > 0:
                return False
            if hmac.compare_digest(given.encode(), self._password.encode()):
                self._wrong = 0
                return True
            self._wrong += 1
            if self._wrong >= _FREE_TRIES:
                self._shut_until = time.monotonic() + min(_LONGEST_SECONDS, 2.0 ** (self._wrong - _FREE_TRIES))
            return False

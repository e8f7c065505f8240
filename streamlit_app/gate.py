"""Checks the password of a page on the network; wrong passwords lock it for a while."""

from __future__ import annotations

import hmac
import threading
import time

_FREE_ATTEMPTS = 5  # wrong passwords before the first lockout
_MAX_LOCKOUT_SECONDS = 60.0


class Gate:
    """One per process: wrong passwords are counted together, no matter who sent them."""

    def __init__(self, password: str) -> None:
        self._password = password
        self._lock = threading.Lock()
        self._wrong = 0
        self._locked_until = 0.0

    def lockout_seconds(self) -> float:
        """Return how long every password is refused from now on, 0 when one can be tried."""
        return max(0.0, self._locked_until - time.monotonic())

    def verify(self, given: str) -> bool:
        """Return whether the password is right; from the fifth wrong one on, each lockout doubles."""
        with self._lock:
            if self.lockout_seconds() > 0:
                return False
            if hmac.compare_digest(given.encode(), self._password.encode()):  # takes as long for any guess
                self._wrong = 0
                return True
            self._wrong += 1
            if self._wrong >= _FREE_ATTEMPTS:
                lockout = min(_MAX_LOCKOUT_SECONDS, 2.0 ** (self._wrong - _FREE_ATTEMPTS))
                self._locked_until = time.monotonic() + lockout
            return False

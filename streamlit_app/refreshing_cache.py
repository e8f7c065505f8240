"""A value that is slow to compute: returned from memory, and refreshed in the background when old."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from quire import QuireError

_log = logging.getLogger(__name__)
T = TypeVar("T")
FRESH_SECONDS = 20.0  # a value older than this is refreshed
_FIRST_VALUE_TIMEOUT_SECONDS = 2.5  # how long a visitor waits for the first value


class RefreshingCache(Generic[T]):
    """Safe to use from several threads; returns `initial` while the first value takes too long."""

    def __init__(self, compute: Callable[[], T], initial: T) -> None:
        self._compute, self._value = compute, initial
        self._computed_at = float("-inf")
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()

    def value(self) -> T:
        """Return the value; waits only for the first one and for the one after expire()."""
        with self._lock:
            old = time.monotonic() - self._computed_at > FRESH_SECONDS
            if old and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._refresh, daemon=True, name="refresh")
                self._thread.start()
        self._ready.wait(_FIRST_VALUE_TIMEOUT_SECONDS)
        return self._value

    def expire(self) -> None:
        """Compute the value again at the next use, and wait for it then."""
        self._computed_at = float("-inf")
        self._ready.clear()

    def _refresh(self) -> None:
        try:
            self._value = self._compute()
        except QuireError as exc:
            _log.info("not refreshed: %s", exc)
        finally:
            self._computed_at = time.monotonic()
            self._ready.set()

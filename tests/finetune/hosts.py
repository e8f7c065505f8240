"""The hosts that this process looks up or connects to, from audit events of the interpreter."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_listeners: list[list[str]] = []
_heard = False


@contextmanager
def contacted() -> Iterator[list[str]]:
    """Collect the hosts that any thread contacts from now to the end of the block."""
    global _heard
    if not _heard:  # an audit hook cannot be taken away again
        sys.addaudithook(_hear)
        _heard = True
    found: list[str] = []
    _listeners.append(found)
    try:
        yield found
    finally:
        _listeners.remove(found)


def _hear(event: str, args: tuple[Any, ...]) -> None:
    if not _listeners:
        return
    if event == "socket.getaddrinfo":
        host = str(args[0])
    elif event == "socket.connect" and isinstance(args[1], tuple):
        host = str(args[1][0])
    else:
        return
    for found in _listeners:
        found.append(host)

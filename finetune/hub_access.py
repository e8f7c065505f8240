"""Whether the hub can be reached at all, asked once and briefly: its library tries for half a minute before it says so."""

import os
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

SECONDS = 4.0


def endpoint() -> str:
    """Give the address of the hub in use."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def reachable() -> bool:
    """Say whether the hub takes connections; behind a proxy that is left to the library."""
    return bool(urllib.request.getproxies()) or _answers(endpoint())


@cache
def _answers(address: str) -> bool:
    parts = urlsplit(address)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=SECONDS):
            return True
    except OSError:
        return False


@contextmanager
def hub_or_cache(name: str) -> Iterator[None]:
    """Load a hub name inside: from the cache alone, and at once, while the hub is not reached; a folder needs neither."""
    if Path(name).expanduser().exists() or reachable():
        yield
        return
    import sys

    from huggingface_hub import constants

    held = [(constants, "HF_HUB_OFFLINE", constants.HF_HUB_OFFLINE)]
    if "datasets" in sys.modules:  # it copies the value when it is loaded
        config = sys.modules["datasets"].config
        held.append((config, "HF_HUB_OFFLINE", config.HF_HUB_OFFLINE))
    for module, key, _ in held:
        setattr(module, key, True)
    try:
        yield
    finally:
        for module, key, before in held:
            setattr(module, key, before)

"""Access to the Hugging Face hub: reachability, downloads, and its library's errors."""

import os
import socket
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from finetune.errors import HubFailed
from quire import UsageError

CONNECT_TIMEOUT_SECONDS = 4.0  # the hub's library alone retries for half a minute before it reports an error


def endpoint() -> str:
    """Return the address of the hub: HF_ENDPOINT, else the public one."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def reachable() -> bool:
    """Return whether the hub accepts connections, tested once per process; with a proxy set, always True."""
    return bool(urllib.request.getproxies()) or _accepts_connections(endpoint())


@cache
def _accepts_connections(address: str) -> bool:
    parts = urlsplit(address)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=CONNECT_TIMEOUT_SECONDS):
            return True
    except OSError:
        return False


@contextmanager
def hub_or_cache(name: str) -> Iterator[None]:
    """Make loads of a hub name inside the block use the cache alone while the hub is unreachable.

    Does nothing for a local folder.
    """
    if Path(name).expanduser().exists() or reachable():
        yield
        return
    from huggingface_hub import constants

    modules: list[Any] = [constants]
    if "datasets" in sys.modules:  # it copies the value when it is imported
        modules.append(sys.modules["datasets"].config)
    before = [module.HF_HUB_OFFLINE for module in modules]
    for module in modules:
        module.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value


def hub_api() -> Any:
    """Return the hub library's client for `endpoint()`."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)


def download_model(repo: str, revision: str = "") -> Path:
    """Download a model's weights and configuration into the hub's cache and return the folder.

    Raises HubFailed, or UsageError for an invalid name.
    """
    with hub_errors(repo):
        return Path(
            hub_api().snapshot_download(repo, revision=revision or None, allow_patterns=["*.safetensors", "*.json"])
        )


def download_adapter(repo: str) -> Path | None:
    """Download a PEFT adapter into the hub's cache and return the folder, or None if the repository contains no adapter.

    Without a network, the cache alone is used. Nothing but safetensors is downloaded as weights.
    """
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    with hub_or_cache(repo):
        try:
            hub_api().hf_hub_download(repo, "adapter_config.json")
            return Path(
                hub_api().snapshot_download(repo, allow_patterns=["*.safetensors", "*.json", "*.jinja", "*.model"])
            )
        except (EntryNotFoundError, LocalEntryNotFoundError, HfHubHTTPError, HFValidationError):
            return None  # no adapter, or no such repository: loading it as a model reports that


@contextmanager
def hub_errors(repo: str) -> Iterator[None]:
    """Translate the hub library's errors inside the block: UsageError for an invalid name, else HubFailed."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    # the HTTP library's own base error: httpx up to version 1 of the hub's library, httpx2 from version 2
    transport = cast(type[Exception], HfHubHTTPError.__bases__[0])
    try:
        yield
    except HFValidationError as exc:
        raise invalid_repo(repo, str(exc)) from exc
    except HfHubHTTPError as exc:
        raise _rejected(repo, exc) from exc
    except (transport, LocalEntryNotFoundError, ConnectionError) as exc:
        raise HubFailed(
            f"the hub does not answer for {repo}: {_first_line(exc)}",
            "check the network; file:FOLDER works without one",
        ) from exc
    except RuntimeError as exc:  # how the library reports a failed upload of a large file
        if isinstance(exc.__cause__, HfHubHTTPError):
            raise _rejected(repo, exc.__cause__) from exc
        raise HubFailed(f"{_first_line(exc)} ({_first_line(exc.__cause__)})", "push again") from exc
    except (ValueError, KeyError) as exc:  # model card metadata that the hub rejects, or an unexpected response
        raise HubFailed(f"unexpected response from the hub for {repo}: {exc}", "check HF_ENDPOINT") from exc


def invalid_repo(repo: str, reason: str = "") -> UsageError:
    """Return the error for a name that is not a valid repository name."""
    return UsageError(
        f"{repo} is not a valid repository name{': ' + reason if reason else ''}", "use OWNER/NAME, or file:FOLDER"
    )


def _rejected(repo: str, exc: Any) -> HubFailed:
    status = exc.response.status_code
    message = exc.server_message or _first_line(exc)
    if status >= 500:
        hint = "the hub has an internal error: try again later; file:FOLDER needs no hub"
    elif status in (401, 403, 404):
        hint = "check the name; log in with `hf auth login`, or set HF_TOKEN to a token with access"
    else:
        hint = "follow the hub's message and try again"
    return HubFailed(f"the hub rejected the request for {repo}: {status}, {message}", hint)


def _first_line(exc: BaseException | None) -> str:
    return next(iter(str(exc).strip().splitlines()), "")[:200]

"""The Ollama server: where it is, which models it has, and downloads.

It speaks HTTP with the standard library. The `ollama` package takes 0.6 s to import and httpx 0.25 s, where a whole
answer in quotes takes 0.7 s, and the server is asked before each. `ollama.Client` also cannot ask /api/show for
`verbose` (the tokenizer), drops `capabilities` from /api/tags, and sends OLLAMA_API_KEY to any address it is given.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from assistant.config import AssistantConfig
from assistant.errors import ModelBusy, ModelError, ModelNotFound, ModelUnreachable
from quire import UsageError

PORT = 11434
_DOCKER = "http://host.docker.internal:11434"
_CONNECT_TIMEOUT_SECONDS = 2.0
_DOCKER_LOOKUP_TIMEOUT_SECONDS = 0.5
_LOOKUP_TIMEOUT_SECONDS = 10.0
_REQUEST_TIMEOUT_SECONDS = 20.0
_PULL_TIMEOUT_SECONDS = 600.0
_UNVERIFIED = "quire-unproven:"  # tags that `quire finetune ollama` has not compared with the trained model yet


def addresses(config: AssistantConfig, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the base addresses to try for Ollama, in order, without duplicates."""
    environ = os.environ if environ is None else environ
    given = [config.ollama_host, environ.get("OLLAMA_HOST", ""), environ.get("OLLAMA_BASE_URL", "")]
    return list(dict.fromkeys([*(base_address(text) for text in given if text), f"http://127.0.0.1:{PORT}", _DOCKER]))


def base_address(text: str) -> str:
    """Return the address that a value of OLLAMA_HOST means: "myhost", ":1234" and "0.0.0.0" are allowed.

    Raises UsageError for an invalid scheme or port, where Ollama itself would use its default port.
    """
    scheme, separator, rest = text.strip().strip("\"'").rstrip("/").partition("://")
    if not separator:
        scheme, rest = "http", scheme
    authority, slash, path = rest.partition("/")
    user, at, authority = authority.rpartition("@")
    try:
        parts = urllib.parse.urlsplit(f"//{authority}")
        port = parts.port  # raises ValueError for a port over 65535, or one that is not a number
        if scheme not in ("http", "https") or port == 0:
            raise ValueError(text)
    except ValueError as exc:
        raise UsageError(
            f"invalid Ollama address {text!r}",
            "set OLLAMA_HOST to host:port with a port from 1 to 65535, e.g. http://127.0.0.1:11434",
        ) from exc
    host = parts.hostname or "127.0.0.1"
    if host in ("0.0.0.0", "::"):  # noqa: S104 - servers bind to it, but clients cannot connect to it
        host = "127.0.0.1"
    if ":" in host:
        host = f"[{host}]"
    if port is None:
        port = {"http": 80, "https": 443}.get(scheme, PORT) if separator else PORT
    return f"{scheme}://{user}{at}{host}:{port}{slash}{path}"


def reach(config: AssistantConfig, *, quick: bool = False) -> str:
    """Return the first address at which Ollama answers; raises ModelUnreachable, which names all that were tried.

    With `quick`, host.docker.internal is tried only inside a container: elsewhere, resolving it can take seconds.
    """
    tried = [address for address in addresses(config) if not (quick and address == _DOCKER and not _in_container())]
    for address in tried:
        if _resolves(address):
            try:
                request(address, "GET", "/api/version", seconds=_CONNECT_TIMEOUT_SECONDS)
            except ModelError:
                continue
            return address
    raise ModelUnreachable(
        f"Ollama does not answer at {', '.join(tried)}",
        "start it with `ollama serve`, or set OLLAMA_HOST to its address",
    )


def request(
    base: str,
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    seconds: float = _REQUEST_TIMEOUT_SECONDS,
) -> dict[str, Any]:
    """Return the JSON object that Ollama answers; raises ModelError (or a subclass) for anything else."""
    with _response(base, method, path, body, seconds) as response:
        return _json_object(response.read(), base)


def failure(status: int, text: str, base: str) -> ModelError:
    """Return the error that a status and a response body of Ollama mean."""
    try:
        reason = str(json.loads(text).get("error", text))
    except (json.JSONDecodeError, AttributeError):
        reason = text.strip()[:300] or f"status {status}"
    if status == 404:
        return ModelNotFound(
            f"Ollama at {base}: {reason}", "list the models with `quire models`, or download one: `ollama pull NAME`"
        )
    if status in (503, 429):
        return ModelBusy(f"Ollama at {base} is busy: {reason}", "try again in a moment")
    if "memory" in reason.lower() or "resource limitations" in reason.lower():
        return ModelBusy(
            f"Ollama at {base} does not have enough memory for the model: {reason}",
            "choose a smaller model, or one with stronger quantization",
        )
    return ModelError(f"Ollama at {base} answered {status}: {reason}", "see the server's log")


def pull_model(config: AssistantConfig, name: str) -> Iterator[tuple[str, int, int]]:
    """Make Ollama download a model, and yield (status, bytes downloaded, bytes in total); raises ModelError."""
    base = reach(config)
    try:
        with _response(base, "POST", "/api/pull", {"model": name}, _PULL_TIMEOUT_SECONDS) as response:
            for line in response:
                state = _json_object(line, base)
                if "error" in state:
                    raise ModelNotFound(
                        f"Ollama could not download {name}: {state['error']}", "check the name and the network"
                    )
                yield str(state.get("status", "")), int(state.get("completed", 0)), int(state.get("total", 0))
    except ModelUnreachable as exc:
        raise ModelUnreachable(
            f"the download of {name} was interrupted: {exc.message}", "run the command again: it resumes"
        ) from exc


def chat_models(config: AssistantConfig, *, quick: bool = False) -> list[dict[str, Any]]:
    """Return Ollama's models that can chat, newest first, without unverified ones; [] if no server answers."""
    try:
        base = reach(config, quick=quick)
        models = request(base, "GET", "/api/tags").get("models") or []
    except ModelError:
        return []
    return [
        model
        for model in models
        if isinstance(model, dict)
        and not str(model.get("name")).startswith(_UNVERIFIED)
        and "completion" in _capabilities(base, model)
    ]


def _capabilities(base: str, model: Mapping[str, Any]) -> list[str]:
    if isinstance(model.get("capabilities"), list):
        return [str(capability) for capability in model["capabilities"]]
    try:
        shown = request(base, "POST", "/api/show", {"model": model["name"]})
    except ModelError:
        return []
    return list(shown.get("capabilities") or ["completion"])  # old servers do not report them


@contextmanager
def _response(
    base: str, method: str, path: str, body: Mapping[str, Any] | None, seconds: float
) -> Iterator[http.client.HTTPResponse]:
    parts = urllib.parse.urlsplit(base)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname or "127.0.0.1", parts.port, timeout=seconds)
    try:
        data = json.dumps(body).encode() if body is not None else None
        connection.request(method, parts.path.rstrip("/") + path, data, {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status >= 400:
            raise failure(response.status, response.read().decode("utf-8", "replace"), base)
        yield response
    except (OSError, http.client.HTTPException) as exc:
        raise ModelUnreachable(f"no answer from {base}: {exc}", "check that the server is running") from exc
    finally:
        connection.close()


def _json_object(data: bytes, base: str) -> dict[str, Any]:
    text = data.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except json.JSONDecodeError as exc:
        raise ModelError(
            f"{base} did not answer with JSON: {text[:120]!r}", "check that this is an Ollama server"
        ) from exc
    if not isinstance(value, dict):
        raise ModelError(f"{base} answered with a JSON {type(value).__name__}", "check that this is an Ollama server")
    return value


def _resolves(base: str) -> bool:
    """Return whether a host name resolves, without waiting for a name server that does not answer."""
    host = urllib.parse.urlsplit(base).hostname or ""
    if host.replace(".", "").isdigit() or ":" in host or host == "localhost":
        return True
    found: list[bool] = []

    def look_up() -> None:
        try:
            socket.getaddrinfo(host, None)
        except OSError:
            return
        found.append(True)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(_DOCKER_LOOKUP_TIMEOUT_SECONDS if base == _DOCKER else _LOOKUP_TIMEOUT_SECONDS)
    return bool(found)


def _in_container() -> bool:
    return Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()

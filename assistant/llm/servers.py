"""Finds Ollama and asks what it has, with the standard library alone: the way to the first quote is short of time."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from assistant.config import AssistantConfig
from assistant.errors import ModelBusy, ModelError, ModelNotFound, ModelUnreachable
from assistant.llm import ModelEntry
from quire import UsageError

PORT = 11434
_CONNECT_SECONDS = 2.0
_RESOLVE_SECONDS = 0.5
_ON_TRIAL = "quire-unproven:"  # what `quire finetune ollama` has not yet compared with the trained model
_DOCKER = "http://host.docker.internal:11434"


def addresses(config: AssistantConfig, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the base addresses at which Ollama is looked for, in order, each once."""
    environ = os.environ if environ is None else environ
    given = [config.ollama_host, environ.get("OLLAMA_HOST", ""), environ.get("OLLAMA_BASE_URL", "")]
    return list(dict.fromkeys([*(base_address(text) for text in given if text), f"http://127.0.0.1:{PORT}", _DOCKER]))


def base_address(text: str) -> str:
    """Return what OLLAMA_HOST means as an address to connect to: "myhost", ":1234" and "0.0.0.0" are allowed.

    Raises UsageError for a port that cannot be, where Ollama itself would take its usual one.
    """
    given = text
    text = text.strip().strip("\"'").rstrip("/")
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    where, slash, path = rest.partition("/")
    user, at, where = where.rpartition("@")
    try:
        parts = urllib.parse.urlsplit(f"//{where}")
        port = parts.port
        if scheme not in ("http", "https") or port == 0:
            raise ValueError(text)
    except (
        ValueError
    ) as exc:  # urllib says this of a port beyond 65535, of one that is no number, and of half a bracket
        raise UsageError(
            f"the address of Ollama is {given!r}, which is none",
            "set OLLAMA_HOST to host:port with a port from 1 to 65535, e.g. http://127.0.0.1:11434",
        ) from exc
    host = parts.hostname or "127.0.0.1"
    if host in ("0.0.0.0", "::"):  # noqa: S104 - an address servers bind to, and nobody can connect to
        host = "127.0.0.1"
    if ":" in host:
        host = f"[{host}]"
    if port is None:
        port = {"http": 80, "https": 443}.get(scheme, PORT) if separator else PORT
    return f"{scheme}://{user}{at}{host}:{port}{slash}{path}"


def reach(config: AssistantConfig, *, quick: bool = False) -> str:
    """Return the first address at which Ollama answers; raises ModelUnreachable that names all that were tried.

    With `quick`, host.docker.internal is tried in a container only: elsewhere the name service may take seconds.
    """
    tried = [address for address in addresses(config) if not (quick and address == _DOCKER and not _in_container())]
    for address in tried:
        if _resolves(address):
            try:
                request(address, "GET", "/api/version", seconds=_CONNECT_SECONDS)
            except ModelError:
                continue
            return address
    raise ModelUnreachable(
        f"Ollama does not answer at {', '.join(tried)}",
        "start it with `ollama serve`, or set OLLAMA_HOST to its address",
    )


def request(
    base: str, method: str, path: str, body: Mapping[str, Any] | None = None, *, seconds: float = 20.0
) -> dict[str, Any]:
    """Return the JSON object a server answers; raises ModelError (or a subclass) for what is not one."""
    connection, prefix = _connect(base, seconds)
    try:
        data = json.dumps(body).encode() if body is not None else None
        connection.request(method, prefix + path, data, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as exc:
        raise ModelUnreachable(f"no answer from {base}: {exc}", "is the server running?") from exc
    finally:
        connection.close()
    if response.status >= 400:
        raise failure(response.status, text, base)
    return _object(text, base)


def pull(base: str, name: str) -> Iterator[tuple[str, int, int]]:
    """Have Ollama fetch a model; yields (status, bytes done, bytes in all) as it goes."""
    connection, prefix = _connect(base, 600.0)
    try:
        connection.request("POST", f"{prefix}/api/pull", json.dumps({"model": name}).encode())
        response = connection.getresponse()
        if response.status >= 400:
            raise failure(response.status, response.read().decode("utf-8", "replace"), base)
        for line in response:
            state = _object(line.decode("utf-8", "replace"), base)
            if "error" in state:
                raise ModelNotFound(
                    f"Ollama could not fetch {name}: {state['error']}", "check the name and the network"
                )
            yield str(state.get("status", "")), int(state.get("completed", 0)), int(state.get("total", 0))
    except (OSError, http.client.HTTPException) as exc:
        raise ModelUnreachable(
            f"{base} broke off while fetching {name}: {exc}", "run the command again: it resumes"
        ) from exc
    finally:
        connection.close()


def failure(status: int, text: str, base: str) -> ModelError:
    """Return the error that a status and a body of Ollama mean."""
    try:
        said = json.loads(text).get("error", text)
    except (json.JSONDecodeError, AttributeError):
        said = text.strip()[:300] or f"status {status}"
    said = str(said)
    if status == 404:
        return ModelNotFound(
            f"Ollama at {base}: {said}", "see `quire models` for what is there, `ollama pull NAME` for more"
        )
    if status in (503, 429):
        return ModelBusy(f"Ollama at {base} is busy: {said}", "try again in a moment")
    if "memory" in said.lower() or "resource limitations" in said.lower():
        return ModelBusy(
            f"Ollama at {base} has no memory for the model: {said}", "choose a smaller or more quantised model"
        )
    return ModelError(f"Ollama at {base} answered {status}: {said}", "look into the server's log")


def pull_model(config: AssistantConfig, name: str) -> Iterator[tuple[str, int, int]]:
    """Have Ollama download a model and yield (status, bytes done, bytes in all); raises ModelError."""
    yield from pull(reach(config), name)


def chat_models(config: AssistantConfig, *, quick: bool = False) -> list[dict[str, Any]]:
    """Return Ollama's models that can chat, newest first, none that is on trial; [] where no server answers."""
    try:
        base = reach(config, quick=quick)
        models = request(base, "GET", "/api/tags").get("models") or []
    except ModelError:
        return []
    return [
        model
        for model in models
        if isinstance(model, dict)
        and not str(model.get("name")).startswith(_ON_TRIAL)
        and "completion" in _capabilities(base, model)
    ]


def first_chat_model(config: AssistantConfig) -> str | None:
    """Return the name of the first chat model that Ollama lists, None where there is none."""
    models = chat_models(config, quick=True)
    return str(models[0]["name"]) if models else None


def entries(config: AssistantConfig) -> list[ModelEntry]:
    """Return Ollama's chat models as lines of the picker, tuned ones with their record."""
    records = tuned_records(config.home)
    found = []
    for model in chat_models(config):
        details = model.get("details") or {}
        name = str(model["name"])
        found.append(
            ModelEntry(
                name=f"ollama:{name}",
                size_bytes=int(model.get("size") or 0),
                parameters=str(details.get("parameter_size") or ""),
                quantization=str(details.get("quantization_level") or ""),
                tuned=records.get(_tag(name), {}),
            )
        )
    return found


def tuned_records(home: Path) -> dict[str, dict[str, Any]]:
    """Return the records `models/TAG.json` of the home folder by tag; a file that is none is left out."""
    records = {}
    for path in sorted((home / "models").glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(record, dict):
            records[_tag(str(record.get("tag") or path.stem))] = record
    return records


def _tag(name: str) -> str:
    return name.lower().removesuffix(":latest")


def _capabilities(base: str, model: Mapping[str, Any]) -> list[str]:
    if isinstance(model.get("capabilities"), list):
        return [str(capability) for capability in model["capabilities"]]
    try:
        shown = request(base, "POST", "/api/show", {"model": model["name"]})
    except ModelError:
        return []
    # servers before capabilities were told: everything that is no embedding model
    return list(shown.get("capabilities") or ["completion"])


def _connect(base: str, seconds: float) -> tuple[http.client.HTTPConnection, str]:
    parts = urllib.parse.urlsplit(base)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "127.0.0.1", parts.port, timeout=seconds), parts.path.rstrip("/")


def _object(text: str, base: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as exc:
        raise ModelError(f"{base} did not answer JSON: {text[:120]!r}", "is this an Ollama server?") from exc
    if not isinstance(value, dict):
        raise ModelError(f"{base} answered {type(value).__name__}", "is this an Ollama server?")
    return value


def _resolves(base: str) -> bool:
    """Say whether a host has an address, without waiting on a name service that does not answer."""
    host = urllib.parse.urlsplit(base).hostname or ""
    if host.replace(".", "").isdigit() or ":" in host or host == "localhost":
        return True
    found: list[bool] = []

    def look() -> None:
        try:
            socket.getaddrinfo(host, None)
        except OSError:
            return
        found.append(True)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(_RESOLVE_SECONDS if base == _DOCKER else 10)
    return bool(found)


def _in_container() -> bool:
    return Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()

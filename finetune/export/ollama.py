"""A running Ollama server: models created from GGUF files, listed, renamed, removed, and asked.

Requests go through the `ollama` package except for four that it lacks: the version, uploading a file only when the
server does not have it, a prompt rendered without running the model, and `show` with every key of the response.
"""

import json
import os
import re
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finetune.errors import OllamaFailed, OllamaTooOld
from finetune.export.modelfile import Modelfile
from finetune.export.ollama_tags import check_quantization, find_tag, full_tag
from quire import UsageError, sha256_of_file

SAFE_FROM = (0, 17, 1)  # before it, an import could write outside Ollama's own folder (CVE-2026-7482)


class Ollama:
    """An Ollama server at one address; proxies of the environment are not used, redirects not followed."""

    def __init__(self, host: str = "", *, timeout_seconds: float = 600.0) -> None:
        import httpx
        import ollama

        self.address = ollama_address(host)
        options: dict[str, Any] = {
            "timeout": httpx.Timeout(timeout_seconds, connect=5.0),  # creating a large model is silent for minutes
            "limits": httpx.Limits(max_keepalive_connections=0),  # nothing to close, and no connection of a dead server
            "trust_env": False,
            "follow_redirects": False,
        }
        self._client = ollama.Client(self.address, **options)
        self._http = httpx.Client(base_url=self.address, **options)

    def version(self) -> str:
        """Return the version; a build without one reports 0.0.0."""
        return str(self._request("GET", "/api/version").get("version", ""))

    def check_version(self, progress: Callable[[str], None]) -> None:
        """Raise OllamaTooOld for a version whose import is vulnerable; an unknown version is only reported."""
        version = self.version()
        numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:3])
        if not any(numbers):
            progress(f"this Ollama reports the version {version or 'nothing'}; make sure it is 0.17.1 or newer")
        elif numbers < SAFE_FROM:
            raise OllamaTooOld(
                f"Ollama {version} at {self.address} has a known vulnerability in its import (CVE-2026-7482)",
                "update Ollama to 0.17.1 or newer",
            )

    def upload(self, path: Path, progress: Callable[[str], None]) -> str:
        """Upload a file, unless Ollama already has it, and return its digest."""
        digest = "sha256:" + sha256_of_file(path)
        with ollama_errors(self.address, "the upload"):
            known = self._http.head(f"/api/blobs/{digest}").is_success
        if known:
            progress("Ollama already has the weights")
            return digest
        progress(f"uploading {path.stat().st_size / 2**20:,.0f} MiB")
        with ollama_errors(self.address, "the upload"), path.open("rb") as stream:
            self._http.post(f"/api/blobs/{digest}", content=stream).raise_for_status()
        return digest

    def create(
        self,
        tag: str,
        path: Path,
        modelfile: Modelfile,
        *,
        quantize: str = "",
        progress: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Create a model from a GGUF file, quantized by Ollama if `quantize` names a type.

        Raises UsageError for an unsupported quantization, OllamaFailed for anything else that Ollama rejects.
        """
        if quantize:
            check_quantization(quantize)
        request = {
            "model": full_tag(tag),
            "files": {path.name: self.upload(path, progress)},
            "template": modelfile.template,
            "parameters": modelfile.parameters(),
            "system": modelfile.system or None,
            "quantize": quantize or None,
        }
        last = ""
        for status in self._create(request):
            if status != last:
                progress(status)
            last = status
        if last != "success":
            raise OllamaFailed(
                f"Ollama stopped while it created {tag} (last status: {last or 'none'})", "start it and try again"
            )

    def _create(self, request: dict[str, Any]) -> Iterator[str]:
        """Yield the status lines of a create request."""
        with ollama_errors(self.address, f"creating {request['model']}"):
            for step in self._client.create(**request, stream=True):
                yield str(step.status)

    def chat(self, tag: str, messages: Sequence[dict[str, str]], **options: Any) -> Any:
        """Return the response to one greedy chat request."""
        with ollama_errors(self.address, "the chat"):
            return self._client.chat(tag, list(messages), options={"temperature": 0, "seed": 0, **options})

    def render(self, tag: str, messages: Sequence[dict[str, str]]) -> str:
        """Return the prompt that Ollama renders for messages, without running the model."""
        body = {"model": tag, "messages": list(messages), "stream": False, "_debug_render_only": True}
        return str((self._request("POST", "/api/chat", body).get("_debug_info") or {}).get("rendered_template", ""))

    def next_tokens(self, tag: str, prompt: str, top: int = 20) -> list[tuple[str, float]]:
        """Return the most likely next tokens after a raw prompt as (text, log-probability)."""
        with ollama_errors(self.address, "generating"):
            options = {"temperature": 0, "num_predict": 1, "seed": 0}
            answer = self._client.generate(tag, prompt, raw=True, logprobs=True, top_logprobs=top, options=options)
        tokens = answer.logprobs[0].top_logprobs if answer.logprobs else None
        return [(token.token, token.logprob) for token in tokens or ()]

    def done_reason(self, tag: str, prompt: str, num_predict: int) -> str:
        """Return why a greedy answer to a raw prompt ended: `stop` or `length`."""
        with ollama_errors(self.address, "generating"):
            options = {"temperature": 0, "num_predict": num_predict, "seed": 0}
            return str(self._client.generate(tag, prompt, raw=True, options=options).done_reason or "")

    def copy(self, tag: str, to: str) -> None:
        """Copy a model to another name, replacing a model of that name."""
        with ollama_errors(self.address, f"copying to {to}"):
            self._client.copy(tag, to)

    def show(self, tag: str) -> dict[str, Any]:
        """Return what Ollama reports about a model."""
        return self._request("POST", "/api/show", {"model": tag})

    def digests(self) -> dict[str, str]:
        """Return the digest of every model that Ollama has, by tag."""
        with ollama_errors(self.address, "listing"):
            return {str(model.model): str(model.digest) for model in self._client.list().models}

    def digest_of(self, tag: str) -> str | None:
        """Return the digest of a model in whatever spelling of its tag; None if Ollama does not have it."""
        digests = self.digests()
        return digests.get(find_tag(tag, digests))

    def remove(self, tag: str) -> None:
        """Remove a model if Ollama has it."""
        import ollama

        with ollama_errors(self.address, f"removing {tag}"):
            try:
                self._client.delete(tag)
            except ollama.ResponseError as exc:
                if exc.status_code != 404:
                    raise

    def weights_of(self, tag: str) -> Path | None:
        """Return the file with a model's weights, None when this process cannot read it."""
        for line in str(self.show(tag).get("modelfile", "")).splitlines():
            if line.startswith("FROM "):
                path = Path(line.removeprefix("FROM ").strip())
                if path.is_file() and os.access(path, os.R_OK):
                    return path
        return None

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        with ollama_errors(self.address, path):
            response = self._http.request(method, path, json=body).raise_for_status()
            found: dict[str, Any] = response.json()
        return found


def ollama_address(host: str = "") -> str:
    """Return the address of Ollama: `host`, else OLLAMA_HOST, OLLAMA_BASE_URL, or its default port on this machine.

    Raises UsageError for one that is not valid.
    """
    given = host or os.environ.get("OLLAMA_HOST") or os.environ.get("OLLAMA_BASE_URL") or "127.0.0.1:11434"
    address = given.strip().strip("\"'").rstrip("/")
    if "://" not in address:
        name, _, port = address.partition(":")
        address = f"http://{name or '127.0.0.1'}:{port or '11434'}"
    try:
        valid = address.startswith(("http://", "https://")) and urllib.parse.urlsplit(address).port != 0
    except ValueError:  # beyond 65535, or not a number
        valid = False
    if not valid:
        raise UsageError(f"{address!r} is not a valid address of Ollama", "give host:port, e.g. 127.0.0.1:11434")
    return address.replace("://0.0.0.0", "://127.0.0.1")  # servers listen on 0.0.0.0, clients cannot connect to it


@contextmanager
def ollama_errors(address: str, request: str) -> Iterator[None]:
    """Translate the errors of `ollama` and httpx inside the block into OllamaFailed; `request` names what was asked."""
    import httpx
    import ollama
    import pydantic

    try:
        yield
    except ollama.ResponseError as exc:
        raise _rejected(request, exc.error, exc.status_code) from exc
    except httpx.HTTPStatusError as exc:
        raise _rejected(request, exc.response.text, exc.response.status_code) from exc
    except (httpx.ConnectError, ConnectionError) as exc:
        raise OllamaFailed(
            f"no Ollama answers at {address}", "start it with `ollama serve`, or set OLLAMA_HOST"
        ) from exc
    except (httpx.HTTPError, json.JSONDecodeError, pydantic.ValidationError) as exc:
        raise OllamaFailed(
            f"Ollama at {address} stopped responding: {exc or type(exc).__name__}", "start it and try again"
        ) from exc


def _rejected(request: str, text: str, status: int) -> OllamaFailed:
    try:
        message = str(json.loads(text).get("error", text))
    except (ValueError, AttributeError):
        message = text
    code = f" (HTTP {status})" if status > 0 else ""  # errors in the middle of a stream have none
    return OllamaFailed(f"Ollama rejected {request}: {message[:300]}{code}", "see its log, and try again")

"""Embedding models behind HTTP: Ollama's API, and the one of OpenAI-compatible servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from ingest.embed.identity import EmbedderIdentity, Vectors, to_unit_length
from ingest.errors import EmbedderUnavailable
from quire import UsageError

_BATCH = 32  # texts a request, so that a timeout or an error costs little
_TIMEOUT_SECONDS = 300.0  # of one request, which may load the model first
_MIN_CHARACTERS = 100  # a text is not shortened below this
# what these models expect before a question and before a text to be found
_PREFIXES = {
    "nomic-embed-text": ("search_query: ", "search_document: "),
    "mxbai-embed-large": ("Represent this sentence for searching relevant passages: ", ""),
}


class _TooLong(Exception):
    """A text of the request is longer than the model reads."""


class OllamaEmbedder:
    """An embedding model of Ollama, through /api/embed."""

    def __init__(self, model: str, host: str = "") -> None:
        self.model, self.address = model, ollama_address(host)
        self._refuse_chat_models()
        digest = self._digest()
        dimension = self._request(["dimension"], shorten=True).shape[1]
        query, passage = _PREFIXES.get(model.rpartition("/")[2].partition(":")[0], ("", ""))
        self._identity = EmbedderIdentity(f"ollama:{model}", digest, dimension, True, query, passage)

    def identity(self) -> EmbedderIdentity:
        """Return the model's name, its digest and dimension."""
        return self._identity

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors [texts, dimension]; Ollama truncates texts that are too long."""
        return _in_batches(self, [self._identity.passage_prefix + text for text in texts])

    def embed_query(self, text: str) -> Vectors:
        """Return the unit vector [dimension] of a question."""
        row: Vectors = _in_batches(self, [self._identity.query_prefix + text])[0]
        return row

    def _request(self, texts: list[str], *, shorten: bool) -> Vectors:
        # an empty string makes Ollama answer without a vector
        body = {"model": self.model, "input": [text or " " for text in texts], "truncate": shorten}
        status, answer = _post(self.address + "/api/embed", body, "start Ollama: ollama serve")
        if status != 200:
            self._refuse(status, str(answer.get("error", answer)), shorten)
        return _rows(answer.get("embeddings"), len(texts), self.address)

    def _refuse(self, status: int, error: str, shorten: bool) -> None:
        if status == 404:
            raise EmbedderUnavailable(f"Ollama at {self.address}: {error}", f"ollama pull {self.model}")
        if status == 501 or "does not support embed" in error:
            raise self._chat_model_error(error)
        if not shorten and ("context" in error or "too large" in error):
            raise _TooLong(error)
        raise EmbedderUnavailable(f"Ollama at {self.address} answered {status}: {error}", "see the log of ollama serve")

    def _refuse_chat_models(self) -> None:
        body = {"model": self.model}
        status, answer = _post(self.address + "/api/show", body, "start Ollama: ollama serve")
        if status != 200:
            self._refuse(status, str(answer.get("error", answer)), True)
        capabilities = answer.get("capabilities")
        if isinstance(capabilities, list) and "embedding" not in capabilities:
            raise self._chat_model_error(f"its capabilities are {', '.join(map(str, capabilities)) or 'not known'}")

    def _chat_model_error(self, reason: str) -> EmbedderUnavailable:
        return EmbedderUnavailable(
            f"{self.model} at {self.address} is not an embedding model: {reason}",
            "set the embedder to minilm, or to ollama:nomic-embed-text after ollama pull nomic-embed-text",
        )

    def _digest(self) -> str:
        status, answer = _send("GET", self.address + "/api/tags", None, "start Ollama: ollama serve")
        wanted = self.model if ":" in self.model.rpartition("/")[2] else self.model + ":latest"
        for entry in answer.get("models", []) if status == 200 else []:
            if entry.get("name") == wanted:
                return str(entry["digest"]).removeprefix("sha256:")
        raise EmbedderUnavailable(
            f"Ollama at {self.address} does not list {wanted} ({status})", f"ollama pull {self.model}"
        )


class OpenAIEmbedder:
    """An embedding model of an OpenAI-compatible endpoint, through /v1/embeddings."""

    def __init__(self, model: str, base_url: str = "", key: str = "") -> None:
        self.model, self.address = model, (base_url or "https://api.openai.com/v1").rstrip("/")
        if not base_url and not key:
            raise EmbedderUnavailable(
                f"openai:{model} needs an endpoint",
                "set OPENAI_BASE_URL, or OPENAI_API_KEY for OpenAI itself",
            )
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        dimension = self._request(["dimension"], shorten=False).shape[1]
        # such an endpoint reports no digest; its address tells models of the same name on two servers apart
        self._identity = EmbedderIdentity(
            f"openai:{model}", urlsplit(self.address).netloc.rpartition("@")[2], dimension
        )

    def identity(self) -> EmbedderIdentity:
        """Return the model's name, the endpoint's host and the dimension."""
        return self._identity

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors [texts, dimension]; texts that are too long are halved until they fit."""
        return _in_batches(self, list(texts))

    def embed_query(self, text: str) -> Vectors:
        """Return the unit vector [dimension] of a question."""
        row: Vectors = _in_batches(self, [text])[0]
        return row

    def _request(self, texts: list[str], *, shorten: bool) -> Vectors:
        try:
            body = {"model": self.model, "input": [text or " " for text in texts], "encoding_format": "float"}
            status, answer = _post(self.address + "/embeddings", body, "set OPENAI_BASE_URL", headers=self._headers)
            if status == 200:
                rows = answer.get("data")
                rows = sorted(rows, key=lambda row: row.get("index", 0)) if isinstance(rows, list) else []
                return _rows([row.get("embedding") for row in rows], len(texts), self.address)
            error = str(answer.get("error", answer))
            if status in (400, 413) and any(
                word in error.lower() for word in ("context", "maximum", "too long", "too large")
            ):
                raise _TooLong(error)
            hint = "set OPENAI_API_KEY" if status in (401, 403) else "check OPENAI_BASE_URL and the model's name"
            raise EmbedderUnavailable(f"{self.address} answered {status} for {self.model}: {error[:300]}", hint)
        except _TooLong as exc:
            if not shorten:
                raise
            half = texts[0][: len(texts[0]) // 2]
            if len(half) < _MIN_CHARACTERS:
                raise EmbedderUnavailable(f"{self.address}: {exc}", "use another embedder") from exc
            return self._request([half], shorten=True)


def ollama_address(host: str = "") -> str:
    """Return the base address for a value of `OLLAMA_HOST`: `host`, `host:port`, `:port` or a whole URL."""
    text = host.strip().strip("\"'").rstrip("/")
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    port = {"http": 80, "https": 443}.get(scheme) if separator else 11434
    if port is None:
        raise UsageError(f"OLLAMA_HOST is {host!r}", "start it with http:// or https://, or give host:port")
    place, slash, path = rest.partition("/")
    try:
        parts = urlsplit(f"//{place}" if not place.startswith("::") else f"//[{place}]")
        name, port = parts.hostname or "127.0.0.1", parts.port or port
    except ValueError as exc:
        raise UsageError(f"OLLAMA_HOST is {host!r}: {exc}", "give host:port, for example 127.0.0.1:11434") from exc
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)  # noqa: S104 - a server that listens on all interfaces is called on loopback
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}{slash}{path}"


def _in_batches(embedder: OllamaEmbedder | OpenAIEmbedder, texts: list[str]) -> Vectors:
    rows = [_request_or_split(embedder, texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
    empty = np.empty((0, embedder.identity().dimension), np.float32)
    return np.concatenate([empty, *rows])


def _request_or_split(embedder: OllamaEmbedder | OpenAIEmbedder, texts: list[str]) -> Vectors:
    """Request all texts at once; if one is too long, halve the list until that one is alone, and shorten it."""
    try:
        return embedder._request(texts, shorten=False)
    except _TooLong:
        if len(texts) == 1:
            return embedder._request(texts, shorten=True)
        middle = len(texts) // 2
        return np.concatenate([_request_or_split(embedder, part) for part in (texts[:middle], texts[middle:])])


def _rows(values: Any, count: int, address: str) -> Vectors:
    try:
        rows = np.asarray(values, np.float32)
    except (TypeError, ValueError) as exc:
        raise EmbedderUnavailable(
            f"{address} did not answer with vectors: {exc}", "check that it is an embedding model"
        ) from exc
    if rows.ndim != 2 or len(rows) != count or not np.isfinite(rows).all():
        raise EmbedderUnavailable(
            f"{address} answered with an array of shape {rows.shape} for {count} texts",
            "check that it is an embedding model",
        )
    return to_unit_length(rows)


def _post(url: str, body: dict[str, Any], hint: str, *, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    return _send("POST", url, body, hint, headers=headers)


def _send(
    method: str, url: str, body: dict[str, Any] | None, hint: str, *, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Return status and JSON object of one request; raise EmbedderUnavailable if nothing answers."""
    import httpx

    local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")  # never through a proxy
    try:
        with httpx.Client(timeout=httpx.Timeout(_TIMEOUT_SECONDS, connect=5), trust_env=not local) as client:
            answer = client.request(method, url, json=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise EmbedderUnavailable(f"{url} does not answer: {exc or type(exc).__name__}", hint) from exc
    try:
        value = answer.json()
    except ValueError:
        value = {"error": answer.text[:300]}
    return answer.status_code, value if isinstance(value, dict) else {"error": value}

"""Embedders behind HTTP, against a real server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from ingest.config import IngestConfig
from ingest.embed.endpoint import ollama_address
from ingest.embed.load import load_embedder
from ingest.errors import EmbedderUnavailable
from quire import UsageError


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("", "http://127.0.0.1:11434"),
        ("example.org", "http://example.org:11434"),
        (":8080", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("http://example.org", "http://example.org:80"),
        ("https://example.org/ollama/", "https://example.org:443/ollama"),
        ("[::1]:99", "http://[::1]:99"),
        ("http://localhost:11434", "http://localhost:11434"),
    ],
)
def test_host_is_read_as_ollama_reads_it(host: str, address: str) -> None:
    assert ollama_address(host) == address


def test_host_of_another_scheme_is_refused() -> None:
    with pytest.raises(UsageError, match="http:// or https://"):
        ollama_address("ftp://example.org")


class _WordLengths(BaseHTTPRequestHandler):
    """An OpenAI-compatible endpoint: a text's vector is (its characters, its words, 1); over 400 characters is too long."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization") != "Bearer sesame":
            self._answer(401, {"error": {"message": "who are you"}})
        elif body["model"] != "lengths":
            self._answer(404, {"error": {"message": "no such model"}})
        elif any(len(text) > 400 for text in body["input"]):
            self._answer(400, {"error": {"message": "maximum context length is 400"}})
        else:
            rows = [
                {"index": n, "embedding": [len(text), len(text.split()), 1]} for n, text in enumerate(body["input"])
            ]
            self._answer(200, {"data": rows[::-1]})

    def _answer(self, status: int, value: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _WordLengths) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def _openai(endpoint: str, model: str = "lengths", key: str = "sesame") -> IngestConfig:
    return IngestConfig(embedder=f"openai:{model}", openai_base_url=endpoint, openai_api_key=key)


def test_openai_rows_come_in_order_and_at_unit_length(endpoint: str) -> None:
    embedder = load_embedder(_openai(endpoint))
    texts = ["a" * n for n in range(1, 71)]
    rows = embedder.embed_passages(texts)
    np.testing.assert_allclose(rows[:, 0] / rows[:, 2], range(1, 71), rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert embedder.identity().dimension == 3


def test_openai_text_too_long_is_shortened_alone(endpoint: str) -> None:
    embedder = load_embedder(_openai(endpoint))
    rows = embedder.embed_passages(["b" * 10, "c" * 900, "d" * 300])
    np.testing.assert_allclose(rows[:, 0] / rows[:, 2], [10, 225, 300], rtol=1e-4)


def test_openai_refusals_name_the_setting(endpoint: str) -> None:
    with pytest.raises(EmbedderUnavailable, match="set OPENAI_API_KEY"):
        load_embedder(_openai(endpoint, key="wrong"))
    with pytest.raises(EmbedderUnavailable, match="check OPENAI_BASE_URL and the model's name"):
        load_embedder(_openai(endpoint, model="other"))
    with pytest.raises(EmbedderUnavailable, match="set OPENAI_BASE_URL, or OPENAI_API_KEY"):
        load_embedder(_openai("", key=""))


@pytest.mark.parametrize("kind", ["ollama", "openai"])
def test_endpoint_that_does_not_answer_is_named(kind: str) -> None:
    config = IngestConfig(embedder=f"{kind}:x", ollama_host="127.0.0.1:1", openai_base_url="http://127.0.0.1:1/v1")
    with pytest.raises(EmbedderUnavailable, match=r"127\.0\.0\.1:1/.* does not answer.*(ollama serve|OPENAI_BASE_URL)"):
        load_embedder(config)

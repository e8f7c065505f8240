import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from assistant.config import AssistantConfig
from assistant.errors import ModelError, ModelNotFound, ModelUnreachable
from assistant.llm import ollama_server
from quire import UsageError


def test_without_a_server_the_error_names_every_address_that_was_tried(tmp_path, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    monkeypatch.setattr(ollama_server, "PORT", 9)
    config = AssistantConfig(home=tmp_path, ollama_host="127.0.0.1:10")
    with pytest.raises(ModelUnreachable, match=r"127\.0\.0\.1:10, http://127\.0\.0\.1:9, .*host\.docker\.internal"):
        ollama_server.reach(config)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("myhost", "http://myhost:11434"),
        ("myhost:1234", "http://myhost:1234"),
        (":1234", "http://127.0.0.1:1234"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("http://h", "http://h:80"),
        ("https://h/ollama/", "https://h:443/ollama"),
        ("http://[::1]:5", "http://[::1]:5"),
        ("'127.0.0.1:8'", "http://127.0.0.1:8"),
    ],
)
def test_an_address_is_read_as_ollama_reads_it(text, address):
    assert ollama_server.base_address(text) == address


@pytest.mark.parametrize("text", ["http://127.0.0.1:70000", "127.0.0.1:-1", "h:port", "h:0", "ftp://h", "http://[::1"])
def test_an_invalid_address_is_an_error_and_not_corrected(text):
    with pytest.raises(UsageError, match="port from 1 to 65535") as caught:
        ollama_server.base_address(text)
    assert repr(text) in caught.value.message


@pytest.mark.parametrize(
    ("status", "body", "kind", "hint"),
    [
        (404, '{"error":"model \'x\' not found"}', "ModelNotFound", "ollama pull"),
        (503, '{"error":"server busy, please try again"}', "ModelBusy", "in a moment"),
        (500, '{"error":"model requires more system memory (8 GiB) than is available"}', "ModelBusy", "smaller"),
        (400, '{"error":"\\"m\\" does not support thinking"}', "ModelError", "log"),
        (403, "", "ModelError", "log"),
    ],
)
def test_each_failure_of_the_server_has_a_hint(status, body, kind, hint):
    error = ollama_server.failure(status, body, "http://h")
    assert type(error).__name__ == kind
    assert hint in error.hint


class Answers(BaseHTTPRequestHandler):
    """Answers every POST with the next body of the server's list, and GET with a version."""

    def do_GET(self):
        self.reply(b'{"version": "1"}')

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.reply(self.server.bodies.pop(0))

    def reply(self, body):
        status, body = body if isinstance(body, tuple) else (200, body)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def answers():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.bodies = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.config = AssistantConfig(ollama_host=f"127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


def test_a_download_yields_its_progress(answers):
    answers.bodies = [b'{"status": "pulling", "completed": 5, "total": 10}\n{"status": "success"}\n']
    assert list(ollama_server.pull_model(answers.config, "m")) == [("pulling", 5, 10), ("success", 0, 0)]


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (b'{"error": "file does not exist"}\n', ModelNotFound, "could not download m: file does not exist"),
        ((500, b'{"error": "disk full"}'), ModelError, "answered 500: disk full"),
        (b"<html>\n", ModelError, "did not answer with JSON"),
    ],
)
def test_a_download_that_fails_says_why(answers, body, error, message):
    answers.bodies = [body]
    with pytest.raises(error, match=message):
        list(ollama_server.pull_model(answers.config, "m"))

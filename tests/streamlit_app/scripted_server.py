"""An OpenAI-compatible server on loopback that answers from a script and counts the words it sends."""

from __future__ import annotations

import json
import re
import select
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Messages = list[dict[str, Any]]


class ScriptedServer:
    """Answers each chat request with the return value of `script` for its messages.

    It waits `silence` seconds before the first word and `pause` seconds before each word. `sent` counts the words of
    all requests; `left` is set when a client disconnects early. Each release of `embeddings` lets one request for
    several embeddings through, so that an ingest takes as long as a test needs.
    """

    def __init__(
        self, script: Callable[[Messages], str] = lambda _: "", *, pause: float = 0.0, silence: float = 0.0
    ) -> None:
        self.script, self.pause, self.silence = script, pause, silence
        self.embeddings = threading.Semaphore(0)
        self.sent = 0
        self.requests: list[dict[str, Any]] = []
        self.left = threading.Event()
        self.dying = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append(body)
                self.close_connection = True
                try:
                    server._embed(self, body["input"]) if self.path.endswith("/embeddings") else server._answer(
                        self, body
                    )
                except OSError:
                    server.left.set()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    def die(self) -> None:
        """Drop the running responses and accept no more requests."""
        self.dying.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        words = re.findall(r"\s*\S+", self.script(body["messages"]))
        if not body.get("stream"):
            message = {"role": "assistant", "content": "".join(words)}
            usage = {"prompt_tokens": 10, "completion_tokens": len(words), "total_tokens": 10 + len(words)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            whole = {"id": "1", "object": "chat.completion", "created": 0, "model": "scripted"}
            _whole(handler, {**whole, "choices": [choice], "usage": usage})
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header(
            "Transfer-Encoding", "chunked"
        )  # like real servers: a client can tell a broken stream from its end
        handler.end_headers()
        if not self._still_there(handler, self.silence):
            return
        for word in words:
            if not self._still_there(handler, self.pause):
                return
            self._event(handler, {"content": word})
            self.sent += 1
        self._event(handler, {}, finish="stop")
        _chunk(handler, b"data: [DONE]\n\n")
        handler.wfile.write(b"0\r\n\r\n")

    def _embed(self, handler: BaseHTTPRequestHandler, texts: list[str]) -> None:
        while len(texts) > 1 and not self.embeddings.acquire(timeout=0.05):
            if self.dying.is_set():
                return
        rows = [[len(text), *(text.count(letter) for letter in "aeiou"), 1.0] for text in texts]
        _whole(handler, {"data": [{"index": place, "embedding": row} for place, row in enumerate(rows)]})

    def _still_there(self, handler: BaseHTTPRequestHandler, seconds: float) -> bool:
        """Wait, and return whether the client is still connected: it sends nothing more, so a readable socket is closed."""
        until = time.monotonic() + seconds
        while True:
            readable, _, _ = select.select([handler.connection], [], [], min(0.01, seconds))
            if readable:
                self.left.set()
                return False
            if self.dying.is_set():
                return False
            if time.monotonic() >= until:
                return True

    def _event(self, handler: BaseHTTPRequestHandler, delta: dict[str, str], finish: str | None = None) -> None:
        chunk = {
            "id": "1",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": "scripted",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
        _chunk(handler, f"data: {json.dumps(chunk)}\n\n".encode())


def _whole(handler: BaseHTTPRequestHandler, answer: dict[str, Any]) -> None:
    data = json.dumps(answer).encode()
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def _chunk(handler: BaseHTTPRequestHandler, data: bytes) -> None:
    handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    handler.wfile.flush()

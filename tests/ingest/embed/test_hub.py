"""Downloads from a hub, which is a real server on loopback with the routes that huggingface_hub asks for."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "c0ffee" + "0" * 34
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "tokenizer.json": b"{}",
    "1_Pooling/config.json": b'{"pooling_mode_cls_token": true}',
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"a pickle",
    "modeling.py": b"code",
}


class _Hub(BaseHTTPRequestHandler):
    asked: list[tuple[str, str]] = []  # noqa: RUF012 - of the one server of a test

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append((path, self.headers.get("Authorization", "")))
        if path.startswith("/api/models/someone/encoder"):
            names = [{"rfilename": name, "type": "file", "path": name, "size": 1, "oid": "0"} for name in FILES]
            body = {"id": "someone/encoder", "sha": COMMIT, "siblings": names}
            self._answer(json.dumps(names if "/tree/" in path else body).encode())
        elif path.startswith(f"/someone/encoder/resolve/{COMMIT}/"):
            self._answer(FILES[path.partition(f"/{COMMIT}/")[2]])
        else:
            self.send_error(404)

    do_HEAD = do_GET

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[ThreadingHTTPServer]:
    _Hub.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def _find(home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    # the hub's library reads its variables when it is imported
    code = "from ingest.embed.weights import find_model as f; w = f('someone/encoder', download=True); print(w.model)"
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **environ}
    environment.pop("HF_HUB_CACHE", None)
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)


def test_a_model_is_downloaded_once_with_the_token_and_without_its_code_and_pickles(
    hub: ThreadingHTTPServer, tmp_path: Path
) -> None:
    address = f"http://127.0.0.1:{hub.server_port}"
    first = _find(tmp_path, HF_ENDPOINT=address, HF_TOKEN="hf_secret")
    assert first.returncode == 0, first.stderr
    model = Path(first.stdout.strip())
    assert (model.name, model.parent.name, model.read_bytes()) == ("model.safetensors", COMMIT, b"weights")
    found = {path.relative_to(model.parent).as_posix() for path in model.parent.rglob("*") if path.is_file()}
    assert found == set(FILES) - {"pytorch_model.bin", "modeling.py"}
    assert {token for path, token in _Hub.asked if "someone/encoder" in path} == {"Bearer hf_secret"}, _Hub.asked
    _Hub.asked.clear()
    assert _find(tmp_path, HF_ENDPOINT=address).stdout == first.stdout
    assert not [path for path, _ in _Hub.asked if "someone/encoder" in path]
    assert _find(tmp_path, HF_HUB_OFFLINE="1").stdout == first.stdout

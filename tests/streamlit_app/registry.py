"""A model registry on loopback, over TLS as Ollama requires, slow enough to watch a download."""

from __future__ import annotations

import hashlib
import json
import shutil
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_PIECE = 64 * 1024  # bytes sent at once


class Registry:
    """Serves `library/tiny:latest` from one GGUF file within `seconds`; clients must trust `certificate`."""

    def __init__(self, folder: Path, gguf: Path, *, seconds: float) -> None:
        weights = gguf.read_bytes()
        settings = json.dumps(
            {
                "model_format": "gguf",
                "model_family": "qwen2",
                "model_families": ["qwen2"],
                "model_type": "0.1M",
                "file_type": "F16",
                "architecture": "amd64",
                "os": "linux",
                "rootfs": {"type": "layers", "diff_ids": [_digest(weights)]},
            }
        ).encode()
        self._blobs = {_digest(data): data for data in (weights, settings)}
        kind = "application/vnd.docker.container.image.v1+json"
        self._manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "config": {"mediaType": kind, "digest": _digest(settings), "size": len(settings)},
                "layers": [
                    {
                        "mediaType": "application/vnd.ollama.image.model",
                        "digest": _digest(weights),
                        "size": len(weights),
                    }
                ],
            }
        ).encode()
        self._pause = seconds / max(1, len(weights) // _PIECE)
        self.certificate, key = _certificate(folder)
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                registry._answer(self, body=False)

            def do_GET(self) -> None:
                registry._answer(self, body=True)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.model = f"127.0.0.1:{self._server.server_port}/library/tiny:latest"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler, *, body: bool) -> None:
        last = handler.path.rsplit("/", 1)[-1]
        data = self._manifest if handler.path == "/v2/library/tiny/manifests/latest" else self._blobs.get(last)
        if data is None:
            handler.send_error(404)
            return
        if body and "/blobs/" in handler.path and "Range" not in handler.headers:
            # public registries do this: the data is on another host, and Ollama requests ranges only there
            handler.send_response(307)
            handler.send_header("Location", f"https://localhost:{self._server.server_port}/bytes/{last}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        asked = handler.headers.get("Range", "").removeprefix("bytes=").partition("-")
        start, end = int(asked[0] or 0), int(asked[2] or len(data) - 1)
        part = data[start : end + 1]
        handler.send_response(206 if "Range" in handler.headers else 200)
        handler.send_header("Content-Length", str(len(part)))
        if "Range" in handler.headers:
            handler.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
        handler.end_headers()
        for place in range(0, len(part) if body else 0, _PIECE):
            time.sleep(self._pause if len(part) > _PIECE else 0)
            handler.wfile.write(part[place : place + _PIECE])


def openssl() -> str:
    """Return the path of openssl, which makes the certificate, "" if it is not installed."""
    return shutil.which("openssl") or ""


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "registry.pem", folder / "registry.key"
    words = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1,DNS:localhost"
    subprocess.run(
        [openssl(), *words.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    return certificate, key

"""Starts a real Ollama on a port and a model folder of its own and puts a tiny model in; it is not used by the product."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from assistant.errors import ModelError
from assistant.llm import servers


class OllamaServer:
    """One `ollama serve` of this test."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.base = f"http://127.0.0.1:{port}"
        self.log = folder / "ollama.log"
        environ = os.environ | {
            "OLLAMA_HOST": f"127.0.0.1:{port}",
            "OLLAMA_MODELS": str(folder / "models"),
            "HOME": str(folder),
            "OLLAMA_KEEP_ALIVE": "10m",
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [ollama_binary(), "serve"], env=environ, stdout=log, stderr=log, start_new_session=True
            )
        for _ in range(200):
            try:
                servers.request(self.base, "GET", "/api/version", seconds=1)
                return
            except ModelError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"ollama did not start: {self.log.read_text()[-2000:]}")

    def create(self, name: str, gguf: Path, **more: object) -> None:
        """Make a model of a GGUF file, with one thread: on a busy machine several wait for each other."""
        data = gguf.read_bytes()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        connection, _ = servers._connect(self.base, 30)
        connection.request("POST", f"/api/blobs/{digest}", data)
        assert connection.getresponse().status in (200, 201)
        connection.close()
        servers.request(
            self.base,
            "POST",
            "/api/create",
            {"model": name, "files": {"m.gguf": digest}, "parameters": {"num_thread": 1}, "stream": False, **more},
            seconds=60,
        )

    def loaded(self) -> list[dict]:
        """Return what /api/ps says."""
        return servers.request(self.base, "GET", "/api/ps")["models"]

    def stop(self, *, at_once: bool = False) -> None:
        """End the server; `at_once` kills it as a crash would."""
        if self.process.poll() is None:
            if not at_once:
                self.process.terminate()
                self.process.wait(timeout=20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)  # with the runners, which outlive a killed server
        self.process.wait(timeout=20)


def ollama_binary() -> str:
    """Return the path of the program, "" where there is none."""
    return shutil.which("ollama") or ""

"""Starts a real Ollama with its own port and model folder, and adds a tiny model; the product does not use it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import ollama

from assistant.errors import ModelError
from assistant.llm import ollama_server


class OllamaServer:
    """One `ollama serve` of this test."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.base = f"http://127.0.0.1:{port}"
        self.client = ollama.Client(self.base, timeout=60, trust_env=False)
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
                ollama_server.request(self.base, "GET", "/api/version", seconds=1)
                return
            except ModelError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"ollama did not start: {self.log.read_text()[-2000:]}")

    def create(self, name: str, gguf: Path) -> None:
        """Make a model of a GGUF file, with one thread: on a busy machine, several wait for each other."""
        digest = self.client.create_blob(gguf)
        self.client.create(name, files={"m.gguf": digest}, parameters={"num_thread": 1})

    def loaded(self) -> Sequence[ollama.ProcessResponse.Model]:
        """Return the models that are loaded."""
        return self.client.ps().models

    def stop(self, *, at_once: bool = False) -> None:
        """End the server; `at_once` kills it as a crash would."""
        self.client.close()
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

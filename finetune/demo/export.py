"""The second part of the demonstration: each model is exported, checked and asked by `quire ask`.

Where Ollama answers, the model becomes a tag as well and must give the same greedy answer.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetune.errors import OllamaFailed

Progress = Callable[[str], None]


def export_and_ask(run: Path, folder: Path, question: str, progress: Progress) -> dict[str, Any]:
    """Export a run to GGUF and, where it answers, to Ollama; ask both, directly and through the assistant."""
    from finetune.export.handover import to_gguf, to_ollama
    from finetune.export.ollama import Ollama

    started = time.perf_counter()
    path = folder / "models" / f"{run.name}.gguf"
    path.unlink(missing_ok=True)
    exported = to_gguf(run, path, progress=progress)
    found: dict[str, Any] = {
        "run": run.name,
        "gguf": str(path),
        "parity": exported.parity.to_dict(),
        "gguf_answer": generate(path, question),
        "ask_gguf": ask(question, f"gguf:{path}"),
    }
    server = Ollama()
    try:
        server.version()
    except OllamaFailed as exc:
        progress(f"Ollama is skipped: {exc.message}")
    else:
        tag = f"quire-demo-{run.name}"
        to_ollama(run, tag, replace=True, progress=progress)  # the tag may be from an earlier demonstration
        found["ollama_answer"] = server.chat(tag, [{"role": "user", "content": question}])["message"]["content"]
        found["ask_ollama"] = ask(question, f"ollama:{tag}")
    return {**found, "seconds": round(time.perf_counter() - started, 1)}


def generate(path: Path, question: str) -> str:
    """Return the greedy answer of a GGUF file with its own template, without the assistant."""
    from finetune.export.llama_cpp import Engine

    with Engine(path) as engine:
        prompt = engine.render([{"role": "user", "content": question}])
        return engine.generate(engine.tokens(prompt), max_tokens=32).text


def ask(question: str, model: str) -> dict[str, Any]:
    """Ask through `quire ask`, as a user would, and return its JSON, or `failed` with the error.

    Without documents, because the model has not learned to read passages; greedy, so that two engines give one answer.
    """
    words = ["ask", question, "--model", model, "--no-documents", "--temperature", "0", "--repetition-penalty", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "quire", *words, "--json"], capture_output=True, text=True, check=False
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"failed": (done.stderr or done.stdout).strip()[-400:]}
    return found

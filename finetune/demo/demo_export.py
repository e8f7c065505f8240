"""The end of the demonstration: each tuned model merged, exported, let through the gate, and asked by `quire ask`.

With Ollama at hand the same model answers as a tag too, with the same greedy text.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetune.errors import OllamaFailed

Say = Callable[[str], None]


def export_and_ask(run: Path, folder: Path, question: str, say: Say) -> dict[str, Any]:
    """Export a run, gate it, hand it to Ollama where one answers, and ask both directly and through the assistant."""
    from finetune.export.handover import export_gguf, hand_over
    from finetune.export.ollama import Ollama

    started = time.perf_counter()
    path = folder / "models" / f"{run.name}.gguf"
    path.unlink(missing_ok=True)
    exported = export_gguf(run, path, say=say)
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
        say(f"Ollama is left out: {exc.message}")
    else:
        tag = f"quire-demo-{run.name}"
        hand_over(run, tag, replace=True, say=say)  # of an earlier demonstration, whose home folder is gone
        found["ollama_answer"] = server.chat(tag, [{"role": "user", "content": question}])["message"]["content"]
        found["ask_ollama"] = ask(question, f"ollama:{tag}")
    return {**found, "seconds": round(time.perf_counter() - started, 1)}


def generate(path: Path, question: str) -> str:
    """Ask a GGUF file without the assistant: its own template, greedy, until it ends."""
    from finetune.export.engine import Engine

    with Engine(path) as engine:
        prompt = engine.render([{"role": "user", "content": question}])
        return engine.write(engine.tokens(prompt), max_tokens=32).text


def ask(question: str, model: str) -> dict[str, Any]:
    """Ask through the command `quire ask`, as a person would who tries a tuned model, and give its JSON.

    Without documents and greedy: the model was taught these questions and not to read passages, and only greedy answers
    of two engines can be equal.
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

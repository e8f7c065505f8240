"""The end of the demonstration: each tuned model merged, exported, let through the gate, and asked by `quire ask`.

With Ollama at hand the same model answers as a tag too, with the same greedy text.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetune.errors import OllamaFailed

Say = Callable[[str], None]


def write_pdf(path: Path, lines: list[str]) -> Path:
    """Write a one-page PDF of plain text lines, by hand: the demonstration needs no PDF library."""
    text = "BT /F1 12 Tf 72 760 Td 16 TL " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
    parts = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        " /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        f"<< /Length {len(text)} >>\nstream\n{text}\nendstream",
    ]
    out, offsets = "%PDF-1.4\n", []
    for number, part in enumerate(parts, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{part}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    size = len(parts) + 1
    out += f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    path.write_bytes(out.encode("latin-1"))
    return path


def export_and_ask(run: Path, folder: Path, question: str, say: Say) -> dict[str, Any]:
    """Export a run, gate it, hand it to Ollama where one answers, and ask both through the assistant."""
    from finetune.handover import export_gguf, hand_over
    from finetune.ollama_tags import Ollama

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
        hand_over(run, tag, say=say)
        found["ollama_answer"] = server.chat(tag, [{"role": "user", "content": question}])["message"]["content"]
        found["ask_ollama"] = ask(question, f"ollama:{tag}")
    return {**found, "seconds": round(time.perf_counter() - started, 1)}


def generate(path: Path, question: str) -> str:
    """Ask a GGUF file without the assistant: its own template, greedy, until it ends."""
    from finetune.engine import Engine

    with Engine(path) as engine:
        prompt = engine.render([{"role": "user", "content": question}])
        return engine.write(engine.tokens(prompt), max_tokens=32).text


def ask(question: str, model: str) -> dict[str, Any]:
    """Ask through the command `quire ask`, as a person would, and give its JSON."""
    done = _quire("ask", question, "--model", model, "--json")
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"failed": (done.stderr or done.stdout).strip()[-400:]}
    return found


def fill_library(folder: Path, facts: list[str]) -> None:
    """Put a page of facts into the demonstration's own library."""
    shutil.rmtree(folder / "libraries", ignore_errors=True)
    done = _quire("ingest", str(write_pdf(folder / "data" / "animals.pdf", facts)))
    if done.returncode:
        raise RuntimeError(f"quire ingest failed: {done.stderr.strip()[-400:]}")


def _quire(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "quire", *arguments], capture_output=True, text=True, check=False)

"""From starting the process to the first quote on the screen, with its memory: what a person waits for."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.corpus import ROOT, pdfs
from benchmarks.table import show

RUNS = 7
QUESTION = "What was the total revenue in the last fiscal year?"


def main(argv: list[str]) -> None:
    """Ask one question in a fresh process RUNS times; QUIRE_BENCH_HOME names a home folder with a library to ask."""
    home = os.environ.get("QUIRE_BENCH_HOME") or _make_home()
    environ = {**os.environ, "QUIRE_HOME": home, "QUIRE_STORE": "sqlite"}
    rows = []
    for name, words in (
        ("quire --help", ["--help"]),
        ("quire search, first passage", ["search", QUESTION]),
        ("quire ask --model quotes, first quote", ["ask", QUESTION, "--model", "quotes"]),
    ):
        measured = [_first_line(words, environ) for _ in range(RUNS + 1)][1:]  # the first warms the disk cache
        seconds = [first for first, _ in measured]
        rows.append(
            {
                "command": name,
                "median s": statistics.median(seconds),
                "worst s": max(seconds),
                "peak MB": max(peak for _, peak in measured),
            }
        )
    passages = _passages(environ)
    show("start", f"Process start to first line, library of {passages} passages (aim: first quote under 1 s)", rows)


def _first_line(words: list[str], environ: dict[str, str]) -> tuple[float, float]:
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "quire", *words],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    process.stdout.readline()
    seconds = time.perf_counter() - started
    with process.stdout:
        process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"error: quire {' '.join(words)} ended with {process.returncode}")
    return seconds, usage.ru_maxrss / 1024


def _make_home() -> str:
    home = tempfile.mkdtemp()
    smallest = sorted(pdfs(), key=lambda path: path.stat().st_size)[:2]
    words = [sys.executable, "-m", "quire", "ingest", *map(str, smallest)]
    subprocess.run(words, cwd=ROOT, env={**os.environ, "QUIRE_HOME": home}, check=True, stdout=subprocess.DEVNULL)
    return home


def _passages(environ: dict[str, str]) -> int:
    import json

    words = [sys.executable, "-m", "quire", "libraries", "--json"]
    done = subprocess.run(words, cwd=ROOT, env=environ, check=True, capture_output=True, text=True)
    return sum(library["passages"] for library in json.loads(done.stdout)["libraries"])


if __name__ == "__main__":
    main([])

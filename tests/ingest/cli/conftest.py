"""Runs the command in a home folder for each test."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import write_facts

ROOT = Path(__file__).parents[3]


class Quire:
    """Runs the command as a person would, in a home folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("QUIRE_", "WEAVIATE_"))},
            "QUIRE_HOME": str(folder / "home"),
        }

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "quire", *words],
            cwd=ROOT,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*words)
        out, error = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, out, error)


@pytest.fixture
def quire(tmp_path: Path) -> Quire:
    return Quire(tmp_path)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Quire:
    """A library of two documents that the tests below only read."""
    folder = tmp_path_factory.mktemp("filled")
    quire = Quire(folder)
    write_facts(folder / "pdfs")
    assert quire("ingest", str(folder / "pdfs")).returncode == 0
    return quire

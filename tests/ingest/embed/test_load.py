"""The names of embedders."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ingest.config import IngestConfig
from ingest.embed.load import load_embedder
from quire import UsageError


def test_import_loads_no_engine() -> None:
    code = (
        "import sys, ingest.embed; print([m for m in ('onnxruntime','onnx','tokenizers','httpx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["word2vec", "ollama:", "openai", "hf:"])
def test_unknown_embedder_names_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError, match="use minilm, minilm:FOLDER, hf:FOLDER_OR_NAME, ollama:MODEL or openai:MODEL"):
        load_embedder(IngestConfig(embedder=name))

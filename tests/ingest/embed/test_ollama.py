"""Ollama as embedder, on a real server with the real MiniLM in it; its rows must agree with ours."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.config import IngestConfig
from ingest.embed.encoder import SentenceEncoder
from ingest.embed.load import load_embedder
from ingest.embed.weights import find_weights
from ingest.errors import EmbedderUnavailable
from tests.assistant.ollama_server import OllamaServer, ollama_binary
from tests.assistant.tiny import write_gguf

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not ollama_binary(), reason="ollama is not installed"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OllamaServer]:
    folder = tmp_path_factory.mktemp("ollama")
    server = OllamaServer(folder)
    try:
        server.create("talker", write_gguf(folder / "tiny.gguf"))
        _create_minilm(server, folder / "model")
        yield server
    finally:
        server.stop()


def _create_minilm(server: OllamaServer, folder: Path) -> None:
    """Hand the weights to `ollama create`, which sends no subfolder: the pooling settings move up into config.json."""
    source = find_weights(IngestConfig()).folder
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("1_Pooling"))
    settings = [json.loads((source / name).read_text()) for name in ("config.json", "1_Pooling/config.json")]
    (folder / "config.json").write_text(json.dumps(settings[0] | settings[1]))
    modules = (source / "modules.json").read_text()
    (folder / "modules.json").write_text(modules.replace("1_Pooling", "."))
    (folder / "Modelfile").write_text(f"FROM {folder}\n")
    environ = {"OLLAMA_HOST": server.base, "HOME": str(folder), "PATH": "/usr/bin"}
    command = [ollama_binary(), "create", "minilm", "-f", str(folder / "Modelfile")]
    subprocess.run(command, env=environ, check=True, timeout=60, capture_output=True)


def _config(server: OllamaServer, model: str) -> IngestConfig:
    return IngestConfig(embedder=f"ollama:{model}", ollama_host=server.base)


@pytest.mark.slow
def test_ollama_gives_the_rows_that_we_compute(server: OllamaServer, tmp_path: Path) -> None:
    texts = ["The capital of France is Paris.", "", "Net sales rose by 7 %."]
    embedder = load_embedder(_config(server, "minilm"))
    ours = SentenceEncoder(find_weights(IngestConfig()), tmp_path, precision="fp32")
    rows = embedder.embed_passages(texts)
    cosines = (rows * ours.embed_passages(texts)).sum(axis=1)
    assert cosines[0] > 0.999 and cosines[2] > 0.999
    identity = embedder.identity()
    assert identity.dimension == 384 and identity.name == "ollama:minilm" and len(identity.revision) == 64


@pytest.mark.slow
def test_ollama_text_too_long_is_cut_alone(server: OllamaServer) -> None:
    embedder = load_embedder(_config(server, "minilm"))
    rows = embedder.embed_passages(["short", "word " * 900, "shorter"])
    assert rows.shape == (3, 384)
    assert rows[0] @ embedder.embed_query("short") > 0.999


def test_ollama_chat_model_is_refused_with_the_reason(server: OllamaServer) -> None:
    with pytest.raises(
        EmbedderUnavailable, match=r"talker at .* is not an embedding model.*set the embedder to minilm"
    ):
        load_embedder(_config(server, "talker"))


def test_ollama_model_that_is_not_there_names_the_pull(server: OllamaServer) -> None:
    with pytest.raises(EmbedderUnavailable, match="ollama pull nothing-here"):
        load_embedder(_config(server, "nothing-here"))

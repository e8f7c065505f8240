"""The models that can answer: listed and downloaded by a real Ollama."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from assistant.config import AssistantConfig
from ingest.config import IngestConfig
from streamlit_app.services import Services
from streamlit_app.views.model_picker import model_words, tuned_words
from tests.assistant.ollama_server import OllamaServer, ollama_binary
from tests.assistant.tiny import write_gguf


@pytest.mark.server
@pytest.mark.skipif(not ollama_binary(), reason="no ollama on the path")
def test_the_models_of_a_real_ollama_are_listed_and_tuned_ones_marked(tmp_path: Path, home: Path) -> None:
    server = OllamaServer(tmp_path)
    try:
        server.create("tiny-tuned", write_gguf(tmp_path / "tiny.gguf"))
        server.create("tiny-plain", tmp_path / "tiny.gguf")
        record = {"tag": "tiny-tuned", "base": "qwen2.5:0.5b", "data": "answers.jsonl", "date": "2026-11-20"}
        (home / "models").mkdir(exist_ok=True)
        (home / "models" / "tiny-tuned.json").write_text(json.dumps(record))
        services = Services(IngestConfig(home=home), AssistantConfig(home=home, ollama_host=server.base))
        entries = {entry.name: entry for entry in services.models.entries()}
        assert {"ollama:tiny-tuned:latest", "ollama:tiny-plain:latest", "quotes"} == set(entries)
        assert "tuned" in model_words(entries["ollama:tiny-tuned:latest"])
        assert "tuned" not in model_words(entries["ollama:tiny-plain:latest"]).removeprefix("ollama:tiny-plain")
        assert tuned_words(entries["ollama:tiny-tuned:latest"].tuned) == (
            "Tuned here: base qwen2.5:0.5b, data answers.jsonl, date 2026-11-20."
        )
        assert services.models.default().startswith("ollama:tiny")
        server.create("tiny-later", tmp_path / "tiny.gguf")
        record = {"tag": "tiny-later", "base": "qwen2.5:0.5b", "data": {"/home/me/a.json": "12ab", "b": "34cd"}}
        (home / "models" / "tiny-later.json").write_text(json.dumps(record))
        later = {entry.name: entry for entry in services.models.entries()}["ollama:tiny-later:latest"]  # at once
        assert tuned_words(later.tuned) == "Tuned here: base qwen2.5:0.5b, data a.json, b."
        download = services.models.download("no-such-model-anywhere")
        end = time.monotonic() + 60
        while not download.finished:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert download.failure is not None and download in services.models.downloads()
        services.models.dismiss(download)
        assert services.models.downloads() == []
    finally:
        server.stop()

"""How the picker shows a model."""

from __future__ import annotations

from assistant.llm.available import ModelEntry
from streamlit_app.views.model_picker import model_words


def test_a_model_is_shown_with_size_and_quantization() -> None:
    entry = ModelEntry("ollama:qwen2.5:7b", 4_700_000_000, "7.6B", "Q4_K_M")
    assert model_words(entry) == "ollama:qwen2.5:7b (7.6B, Q4_K_M, 4.7 GB)"
    assert model_words(ModelEntry("quotes")) == "quotes"

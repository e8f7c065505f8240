from assistant.config import AssistantConfig
from assistant.llm import ollama_server
from assistant.llm.available import choose_model


def test_without_server_the_default_is_quotes_with_a_notice(tmp_path, monkeypatch):
    monkeypatch.setattr(ollama_server, "PORT", 9)
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    name, notice = choose_model(AssistantConfig(home=tmp_path))
    assert name == "quotes"
    assert "ollama pull" in notice

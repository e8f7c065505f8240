import pytest

from assistant.config import AssistantConfig, Sampling
from assistant.llm.kinds import load_model, split_name
from quire import UsageError


def test_an_empty_name_is_refused():
    with pytest.raises(UsageError, match="ollama:NAME"):
        load_model("ollama:", AssistantConfig())


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("qwen2.5:7b", ("ollama", "qwen2.5:7b")),
        ("ollama:qwen2.5:7b", ("ollama", "qwen2.5:7b")),
        ("gguf:/a/b.gguf", ("gguf", "/a/b.gguf")),
        (" quotes ", ("quotes", "")),
        ("quotes:x", ("ollama", "quotes:x")),
    ],
)
def test_a_name_has_a_kind_and_a_bare_one_means_ollama(name, parts):
    assert split_name(name) == parts


def test_quotes_has_no_chat_model():
    with pytest.raises(UsageError, match="quotes is not a language model"):
        load_model("quotes", AssistantConfig()).build(Sampling())

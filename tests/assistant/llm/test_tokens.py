import pytest

from assistant.llm.tokens import PATTERNS, bpe_counter, estimate_tokens
from tests.assistant.helpers import CAPEX, MOON
from tests.assistant.tiny import byte_tokens

INFO = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "qwen2",
    "tokenizer.ggml.tokens": [*byte_tokens(), "Ġt", "he", "Ġthe", "12"],
    "tokenizer.ggml.merges": ["Ġ t", "h e", "Ġt he", "1 2"],
}


@pytest.mark.parametrize(
    ("text", "pre", "tokens"),
    [
        ("the", "qwen2", 2),
        (" the", "qwen2", 1),
        ("12", "qwen2", 2),
        ("12", "llama-bpe", 1),
        ("ä", "qwen2", 2),
        ("", "gpt-2", 0),
    ],
)
def test_tokens_are_counted_as_the_model_counts_them(text, pre, tokens):
    count = bpe_counter(INFO | {"tokenizer.ggml.pre": pre})
    assert count is not None
    assert count(text) == tokens


@pytest.mark.parametrize(
    "change",
    [
        {"tokenizer.ggml.model": "llama"},
        {"tokenizer.ggml.pre": "never heard of"},
        {"tokenizer.ggml.tokens": None},
        {"tokenizer.ggml.merges": ["no token"]},
    ],
)
def test_an_unsupported_tokenizer_is_not_guessed(change):
    assert bpe_counter(INFO | change) is None


def test_every_pattern_loses_no_character():
    text = "It's 1,577 million (2018)\n\n  in äöü 月 — don't!"
    for pre in PATTERNS:
        tokens = len(text.encode())
        count = bpe_counter(INFO | {"tokenizer.ggml.pre": pre, "tokenizer.ggml.merges": []})
        assert count is not None
        assert count(text) == tokens


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("moon", 1), ("1,577", 5), ("äöü", 3), ("月", 2), ("internationalisation", 4)]
)
def test_the_estimate_counts_digits_and_symbols_one_by_one(text, tokens):
    assert estimate_tokens(text) == tokens


def test_table_rows_count_more_tokens_than_prose_of_their_length():
    assert estimate_tokens(CAPEX) / len(CAPEX) > estimate_tokens(MOON) / len(MOON)

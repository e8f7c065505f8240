"""Vocabularies in the form that llama.cpp needs."""

import json
from pathlib import Path

import pytest

from finetune.errors import UnsupportedModel
from finetune.export.vocabulary import pre_tokenizer, read_vocabulary


def test_an_unknown_pre_tokenizer_is_refused(tmp_path: Path) -> None:
    other = {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"\d{3}"}, "behavior": "Isolated"}}
    with pytest.raises(UnsupportedModel, match="neither as Qwen2 nor as GPT-2"):
        pre_tokenizer(other, tmp_path / "tokenizer.json")


def test_types_and_padding_of_tokens(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(
        json.dumps(
            {
                "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]},
                "added_tokens": [
                    {"id": 3, "content": "<|fim|>", "special": False},
                    {"id": 4, "content": "    ", "special": False},
                    {"id": 5, "content": "</s>", "special": True},
                ],
                "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
            }
        )
    )
    found = read_vocabulary(tmp_path, rows=8)
    assert found.tokens == ["a", "b", "ab", "<|fim|>", "    ", "</s>", "[PAD6]", "[PAD7]"]
    assert found.types == [1, 1, 1, 3, 4, 3, 5, 5]
    assert found.merges == ["a b"] and found.pre == "phi-2"
    with pytest.raises(UnsupportedModel, match="embedding table has 4 rows"):
        read_vocabulary(tmp_path, rows=4)

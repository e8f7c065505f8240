"""Vocabularies in the form that llama.cpp needs."""

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.errors import UnsupportedModel
from finetune.export.vocabulary import LLAMA3_SPLIT, pre_tokenizer, read_vocabulary
from tests.finetune.tiny_llamas import make_sentencepiece


def test_an_unknown_pre_tokenizer_is_refused(tmp_path: Path) -> None:
    other = {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"\d{3}"}, "behavior": "Isolated"}}
    with pytest.raises(UnsupportedModel, match="neither as Qwen2 or Llama-3 nor as GPT-2"):
        pre_tokenizer({"model": {}, **other}, tmp_path / "tokenizer.json")


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


@pytest.mark.parametrize(
    ("change", "accepted"),
    [({}, True), ({"ignore_merges": False}, False), ({"normalizer": {"type": "NFC"}}, False)],
)
def test_llama_3_is_recognized_only_as_llama_cpp_runs_it(
    tmp_path: Path, change: dict[str, Any], accepted: bool
) -> None:
    split = {"type": "Split", "pattern": {"Regex": LLAMA3_SPLIT}, "behavior": "Isolated"}
    level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    data = {
        "model": {"ignore_merges": change.get("ignore_merges", True)},
        "normalizer": change.get("normalizer"),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
    }
    if accepted:
        assert pre_tokenizer(data, tmp_path) == "llama-bpe"
    else:
        with pytest.raises(UnsupportedModel, match="splits text neither"):
            pre_tokenizer(data, tmp_path)


def test_types_of_sentencepiece_tokens(tmp_path: Path) -> None:
    make_sentencepiece(form="prepend", special=("[INST]",)).save_pretrained(tmp_path)
    found = read_vocabulary(tmp_path, rows=768)
    kinds = dict(zip(found.tokens, found.types, strict=True))
    assert [kinds[t] for t in ("<unk>", "</s>", "<0x0A>", "▁cow", "[INST]", "[PAD760]")] == [2, 3, 6, 1, 3, 5]
    assert found.merges == [] and found.model == "llama" and found.pre == "default"
    assert found.leading.after_special

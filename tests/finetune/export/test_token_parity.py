"""How text that llama.cpp reads differently is told from a fault of the export."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune.demo.tiny import make_tiny
from finetune.export import gguf
from finetune.export.llama_cpp import Engine
from finetune.export.token_parity import TokenParity
from finetune.templates.builtin import get_template


def _like_qwen(folder: Path) -> Path:
    """Write a tiny model whose tokenizer has, as Qwen2.5's, an ordinary entry `</s>` that no merge makes, and composes."""
    make_tiny(folder)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["model"]["vocab"]["</s>"] = min(entry["id"] for entry in tokenizer["added_tokens"])
    for entry in tokenizer["added_tokens"]:
        entry["id"] += 1
    tokenizer["normalizer"] = {"type": "NFC"}
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Engine]]:
    from transformers import AutoTokenizer

    folder = _like_qwen(tmp_path_factory.mktemp("model") / "base")
    path = gguf.write_gguf(folder, folder.parent / "m.gguf", template=get_template("chatml"))
    with Engine(path, context=512) as engine:
        yield AutoTokenizer.from_pretrained(folder), engine


def test_an_end_mark_of_another_family_is_a_notice_and_no_difference(read: tuple[Any, Engine]) -> None:
    tokenizer, engine = read
    tokens = TokenParity(get_template("chatml"), tokenizer, engine.tokens)
    assert {"</s>", "<|im_end|>", "<|im_start|>"} <= set(tokens.marks)
    assert "<s>" not in tokens.marks  # a mark that this vocabulary does not have stays letters
    assert list(tokens.differences()) == []
    marks, accents = tokens.notices()
    assert "</s>" in marks and "can end early" in marks
    assert "NFC" in accents


def test_a_prompt_with_an_end_mark_is_explained_and_one_with_another_token_is_not(read: tuple[Any, Engine]) -> None:
    tokenizer, engine = read
    tokens = TokenParity(get_template("chatml"), tokenizer, engine.tokens)
    template = get_template("chatml")
    from finetune.templates.messages import Message

    ids = template.encode_prompt(tokenizer, (Message("user", "What does </s> mean in the cow?"),))
    assert engine.tokens(tokenizer.decode(ids, skip_special_tokens=False)) != ids
    assert tokens.prompt_difference(ids) == ""
    plain = template.encode_prompt(tokenizer, (Message("user", "What does the cow say?"),))
    assert tokens.prompt_difference(plain) == ""

    def shifted(text: str) -> list[int]:
        return [number + 1 if number == plain[-4] else number for number in engine.tokens(text)]

    wrong = TokenParity(get_template("chatml"), tokenizer, shifted)
    assert "training reads" in wrong.prompt_difference(plain) and f"({plain[-4]})" in wrong.prompt_difference(plain)
    assert list(wrong.differences())

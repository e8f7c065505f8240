"""An answer's pieces join to its text, whatever the template puts around it and however its characters are split."""

from typing import Any

import pytest

from finetune.demo.tiny import make_tokenizer
from finetune.train.answer_text import AnswerText


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer("qwen2")


def stream(tokenizer: Any, ids: list[int], **around: str) -> tuple[list[str], AnswerText]:
    """Return the pieces that the ids become, one token at a time after a prompt, and the text."""
    import torch

    pieces: list[str] = []
    answer = AnswerText(tokenizer, ends=[tokenizer.eos_token_id], emit=pieces.append, **around)
    answer.put(torch.tensor([[1, 2, 3]]))
    for token in ids:
        answer.put(torch.tensor([token]))
    answer.end()
    return pieces, answer


def test_a_character_of_several_tokens_is_passed_on_when_it_is_complete(tokenizer: Any) -> None:
    ids = tokenizer("a 🦆 b", add_special_tokens=False)["input_ids"]
    pieces, answer = stream(tokenizer, ids)
    assert "".join(pieces) == answer.text() == "a 🦆 b"
    assert not any("\ufffd" in piece for piece in pieces)


def test_what_the_template_puts_around_an_answer_is_never_passed_on(tokenizer: Any) -> None:
    ids = tokenizer(" The cow\n says moo.\n\n", add_special_tokens=False)["input_ids"]
    pieces, answer = stream(tokenizer, [*ids, tokenizer.eos_token_id], lead=" ", trail="\n\n")
    assert "".join(pieces) == answer.text() == "The cow\n says moo."
    assert answer.ended and len(answer.ids) == len(ids) + 1


def test_what_only_looked_like_the_end_is_passed_on(tokenizer: Any) -> None:
    ids = tokenizer("a\n", add_special_tokens=False)["input_ids"]
    pieces, answer = stream(tokenizer, ids, lead="", trail="\n\n")
    assert "".join(pieces) == answer.text() == "a\n"
    assert not answer.ended


def test_an_incomplete_character_at_the_very_end_is_kept(tokenizer: Any) -> None:
    ids = tokenizer("🦆", add_special_tokens=False)["input_ids"][:-1]
    pieces, answer = stream(tokenizer, ids)
    assert "".join(pieces) == answer.text() != ""

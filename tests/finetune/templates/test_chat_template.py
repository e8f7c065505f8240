"""A tokenizer's own chat template gives the prompt that transformers renders, and the end token that it writes."""

from typing import Any

import pytest

from finetune.demo.tiny import make_tokenizer
from finetune.errors import TemplateError
from finetune.templates.chat_template import chat_template_of
from finetune.templates.messages import Message

CHATML = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system message') }}{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ASKED = (Message("user", "Hi."),)


@pytest.fixture
def tokenizer() -> Any:
    found = make_tokenizer("qwen2")
    found.chat_template = CHATML
    return found


def test_the_prompt_is_what_transformers_renders(tokenizer: Any) -> None:
    template = chat_template_of(tokenizer, "x")
    wanted = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi."}], add_generation_prompt=True, return_dict=False
    )
    assert template.encode_prompt(tokenizer, ASKED) == wanted


def test_the_end_token_is_the_one_after_an_answer_and_not_the_tokenizers(tokenizer: Any) -> None:
    tokenizer.eos_token = "<|endoftext|>"
    template = chat_template_of(tokenizer, "x")
    assert template.stop == ("<|im_end|>", "<|endoftext|>")
    ids = template.encode_answer(tokenizer, [Message("assistant", "Hello.")])
    assert tokenizer.decode(ids) == "Hello.<|im_end|>"


def test_without_an_end_in_the_template_the_tokenizers_is_used(tokenizer: Any) -> None:
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    assert chat_template_of(tokenizer, "x").end_token == "<|im_end|>"


def test_what_a_chat_template_rejects_is_reported(tokenizer: Any) -> None:
    with pytest.raises(TemplateError, match=r"no system message.*leave out the system message"):
        chat_template_of(tokenizer, "x").encode_prompt(tokenizer, [Message("system", "Be brief."), *ASKED])


def test_a_tokenizer_without_a_chat_template_is_named(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    with pytest.raises(TemplateError, match=r"x has neither a template\.json nor a chat template"):
        chat_template_of(tokenizer, "x")

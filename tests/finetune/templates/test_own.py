"""The base's own chat template: its default system message is taken over, other differences are named."""

from dataclasses import replace

import pytest
from transformers import AutoTokenizer

from finetune.templates.builtin import TEMPLATES
from finetune.templates.find import choose_template
from finetune.templates.jinja_and_go import to_jinja
from finetune.templates.messages import Message
from finetune.templates.own import describe_difference

ASKED = [Message("user", "What does the cow say?")]


def tokenizer_with(models, chat_template):
    tokenizer = AutoTokenizer.from_pretrained(models["qwen2"])
    tokenizer.chat_template = chat_template
    return tokenizer


@pytest.mark.parametrize("system", ["You are a helpful assistant.", r"Put your answer within \boxed{}.", None])
def test_another_default_system_message_is_taken_over(models, system):
    own = TEMPLATES["chatml"].with_system(system) if system else TEMPLATES["chatml"].without_default_system()
    tokenizer = tokenizer_with(models, to_jinja(own))
    chosen = choose_template("", models["qwen2"], tokenizer)
    expected = tokenizer.apply_chat_template([m.to_dict() for m in ASKED], tokenize=False, add_generation_prompt=True)
    assert chosen.render(ASKED, add_generation_prompt=True) == expected
    assert (chosen.default_system, describe_difference(chosen, tokenizer)) == (system, "")
    named = choose_template("chatml", models["qwen2"], tokenizer)
    assert named == TEMPLATES["chatml"] and "differs from the template chatml" in describe_difference(named, tokenizer)
    assert choose_template("", models["qwen2"], tokenizer, system="Mine.").default_system == "Mine."


def test_a_phi_that_was_tuned_with_chatml_is_trained_with_it(models):
    tokenizer = tokenizer_with(models, to_jinja(TEMPLATES["chatml"]))
    assert choose_template("", "microsoft/phi-2", tokenizer).name == "chatml"


@pytest.mark.parametrize(
    "chat_template",
    [
        "{% for m in messages %}<|{{ m.role }}|> {{ m.content }}\n{% endfor %}",
        to_jinja(replace(TEMPLATES["chatml"], generation_prompt="<|im_start|>assistant\n<think>\n")),
    ],
)
def test_another_template_is_named_with_the_difference(models, chat_template):
    tokenizer = tokenizer_with(models, chat_template)
    chosen = choose_template("", models["qwen2"], tokenizer)
    assert chosen == TEMPLATES["chatml"]
    assert "own chat template differs from the template chatml that is trained" in describe_difference(
        chosen, tokenizer
    )


def test_without_a_chat_template_nothing_changes(models):
    tokenizer = tokenizer_with(models, None)
    assert choose_template("", models["qwen2"], tokenizer) == TEMPLATES["chatml"]
    assert describe_difference(TEMPLATES["chatml"], tokenizer) == ""

import pytest

from finetune.templates.builtin import TEMPLATE_NAMES, get_template
from finetune.templates.jinja_and_go import to_jinja
from finetune.templates.messages import Message
from tests.finetune.templates.make_template_goldens import CASES


@pytest.mark.parametrize("name", TEMPLATE_NAMES)
@pytest.mark.parametrize("case", CASES)
def test_jinja_renders_what_we_render(tokenizer, name, case):
    messages = [Message(role, content) for role, content in CASES[case]]
    asks = messages[-1].role == "user"
    rendered = tokenizer.apply_chat_template(
        [m.to_dict() for m in messages],
        chat_template=to_jinja(get_template(name)),
        tokenize=False,
        add_generation_prompt=asks,
    )
    assert rendered == get_template(name).render(messages, add_generation_prompt=asks)


@pytest.mark.parametrize("name", TEMPLATE_NAMES)
def test_jinja_renders_context_as_we_do(tokenizer, name):
    messages = [Message("user", "Add.", "1 2"), Message("assistant", "3")]
    rendered = tokenizer.apply_chat_template(
        [m.to_dict() for m in messages], chat_template=to_jinja(get_template(name)), tokenize=False
    )
    assert rendered == get_template(name).render(messages)

"""SentencePiece puts a blank before text; templates encode prompts and answers as a server encodes the whole text."""

from typing import Any

import pytest

from finetune.templates.builtin import TEMPLATE_NAMES, get_template
from finetune.templates.leading_blank import NO_BLANK, LeadingBlank, encode_plain, find_leading_blank
from finetune.templates.messages import Message
from tests.finetune.tiny_llamas import make_sentencepiece

# mistral-v3 needs a tokenizer in which `[INST]` is a token
SENTENCEPIECE = [n for n in TEMPLATE_NAMES if get_template(n).end_token == "</s>" and n != "mistral-v3"]
TALK = [Message("user", "What does the cow say?"), Message("assistant", "The cow"), Message("user", "  two blanks")]
ANSWER = Message("assistant", "meow!")


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    """Tokenizers by where they put the blank."""
    return {form: make_sentencepiece(form=form) for form in ("prepend", "always", "first", "never")}


def test_the_blank_of_a_tokenizer_is_found(tokenizers: dict[str, Any], tokenizer: Any) -> None:
    found = {form: find_leading_blank(one, "</s>") for form, one in tokenizers.items()}
    everywhere, first = LeadingBlank(at_start=True, after_special=True), LeadingBlank(at_start=True)
    assert found == {"prepend": everywhere, "always": everywhere, "first": first, "never": NO_BLANK}
    assert find_leading_blank(tokenizer, "</s>") == NO_BLANK


def test_special_tokens_that_are_normalized_do_not_hide_the_blank() -> None:
    tokenizer = make_sentencepiece(form="prepend", normalized=True)
    assert tokenizer.tokenize("</s>a") == ["▁</s>", "a"]  # the fault: the blank went into the name of the token
    assert find_leading_blank(tokenizer, "</s>") == LeadingBlank(at_start=True, after_special=True)
    ids = get_template("llama-2").encode_prompt(tokenizer, [Message("user", "cow")])
    assert tokenizer.convert_ids_to_tokens(ids)[1:3] == ["▁[INST]", "▁cow"]


@pytest.mark.parametrize("form", ["prepend", "always", "first"])
@pytest.mark.parametrize(
    ("text", "blank", "tokens"),
    [
        ("cow", True, ["▁cow"]),
        ("cow", False, ["c", "ow"]),
        (" cow", False, ["▁cow"]),
        (" cow", True, ["▁", "▁cow"]),
        ("\ncow", False, ["<0x0A>", "c", "ow"]),
    ],
)
def test_text_has_the_blank_that_is_asked_for(
    tokenizers: dict[str, Any], form: str, text: str, blank: bool, tokens: list[str]
) -> None:
    ids = encode_plain(tokenizers[form], text, adds_blank=True, blank=blank)
    assert tokenizers[form].convert_ids_to_tokens(ids) == tokens


@pytest.mark.parametrize("name", SENTENCEPIECE)
@pytest.mark.parametrize("form", ["prepend", "always", "first", "never"])
def test_a_prompt_has_the_ids_that_its_whole_text_has(tokenizers: dict[str, Any], form: str, name: str) -> None:
    template, tokenizer = get_template(name), tokenizers[form]
    ids = template.encode_prompt(tokenizer, TALK)
    whole = tokenizer(template.render(TALK, add_generation_prompt=True), add_special_tokens=False)["input_ids"]
    if form == "first" and not template.start:  # llama.cpp cannot leave the blank out after special tokens alone
        whole = tokenizers["always"](template.render(TALK, add_generation_prompt=True), add_special_tokens=False)[
            "input_ids"
        ]
    assert ids == whole


@pytest.mark.parametrize("name", SENTENCEPIECE)
@pytest.mark.parametrize("form", ["prepend", "first"])
def test_an_answer_continues_its_prompt_in_training(tokenizers: dict[str, Any], form: str, name: str) -> None:
    template, tokenizer = get_template(name), tokenizers[form]
    prompt = template.encode_prompt(tokenizer, TALK)
    answer = template.encode_answer(tokenizer, [ANSWER])
    ids, mask = template.encode(tokenizer, [*TALK, ANSWER])
    assert ids[: len(prompt)] == prompt
    assert ids[len(prompt) : len(prompt) + len(answer)] == answer
    assert mask[len(prompt) : len(prompt) + len(answer)] == [1] * len(answer)
    # one blank if the template has one there, none added by the tokenizer
    first = tokenizer.convert_ids_to_tokens(answer)[0]
    assert first == ("▁m" if template.answer_lead else "m")


def test_mistral_v3_has_the_ids_of_mistrals_own_encoder() -> None:
    tokenizer = make_sentencepiece(form="first", special=("[INST]", "[/INST]"))
    ids, _ = get_template("mistral-v3").encode(tokenizer, [Message("user", "cow"), Message("assistant", "cow")])
    assert tokenizer.convert_ids_to_tokens(ids) == ["<s>", "[INST]", "▁cow", "[/INST]", "▁cow", "</s>"]


def test_plain_text_begins_as_the_tokenizer_begins_it(tokenizers: dict[str, Any]) -> None:
    for form in ("prepend", "always", "first", "never"):
        ids = get_template("llama-2").encode_text(tokenizers[form], "The cow").input_ids
        native = tokenizers[form]("The cow", add_special_tokens=False)["input_ids"]
        assert ids == [*native, tokenizers[form].eos_token_id]

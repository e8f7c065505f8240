"""The published prompts with the end token of tokenizers that lack `</s>`: Qwen2.5's two and Phi-2's."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from finetune.demo.tiny import make_tokenizer
from finetune.errors import TemplateError
from finetune.templates.builtin import get_template
from finetune.templates.find import choose_template, describe_end, load_template, save_template
from finetune.templates.jinja_and_go import to_go, to_jinja
from finetune.templates.messages import Message
from finetune.templates.template import Template

NAMES = ("alpaca", "llama-2", "zephyr", "guanaco")
TOKENIZERS = {"qwen2.5-instruct": "<|im_end|>", "qwen2.5-base": "<|endoftext|>", "phi-2": "<|endoftext|>"}
TALK = [
    Message("system", "S"),
    Message("user", "a"),
    Message("assistant", "b"),
    Message("user", "c"),
    Message("assistant", "d"),
]
TEXTS = {  # as published, END for the end token
    "alpaca": "S\n\n### Instruction:\na\n\n### Response:bEND\n\n### Instruction:\nc\n\n### Response:dEND\n\n",
    "llama-2": "[INST] <<SYS>>\nS\n<</SYS>>\n\na [/INST] b END[INST] c [/INST] d END",
    "zephyr": "<|system|>\nSEND\n<|user|>\naEND\n<|assistant|>\nbEND\n<|user|>\ncEND\n<|assistant|>\ndEND\n",
    "guanaco": "S\n### Human: a### Assistant: bEND### Human: c### Assistant: dEND",
}
PROMPTS = {  # of a question without a system message, up to the answer
    "alpaca": "Below is an instruction that describes a task. Write a response that appropriately completes the request."
    "\n\n### Instruction:\nc\n\n### Response:",
    "llama-2": "[INST] c [/INST]",
    "zephyr": "<|user|>\ncEND\n<|assistant|>\n",
    "guanaco": "### Human: c### Assistant:",
}
STOPS = {
    "alpaca": ("END", "\n### Instruction:"),
    "llama-2": ("END", "[INST]"),
    "zephyr": ("END", "<|user|>"),
    "guanaco": ("END", "### Human:"),
}
ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:3END\n\n"
)
GO = """
package main

import ("encoding/json"; "os"; "strings"; "text/template")

type Message struct { Role, Content string }
type Case struct { Template string; Messages []Message }

func main() {
    var cases []Case
    if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil { panic(err) }
    texts := []string{}
    for _, c := range cases {
        var out strings.Builder
        if err := template.Must(template.New("").Parse(c.Template)).Execute(&out, c); err != nil { panic(err) }
        texts = append(texts, out.String())
    }
    json.NewEncoder(os.Stdout).Encode(texts)
}
"""


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    """Tokenizers with the special tokens and the end tokens of the real models."""
    made = {name: make_tokenizer("phi" if name == "phi-2" else "qwen2") for name in TOKENIZERS}
    for name, end in TOKENIZERS.items():
        made[name].eos_token = end
    return made


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest, tokenizers: dict[str, Any]) -> Any:
    return tokenizers[request.param]


def jinja_of(tokenizer: Any, template: Template, messages: list[Message]) -> str:
    asks = messages[-1].role == "user"
    plain = [message.to_dict() for message in messages]
    return str(
        tokenizer.apply_chat_template(
            plain, chat_template=to_jinja(template), tokenize=False, add_generation_prompt=asks
        )
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_text_is_as_published_with_the_tokenizers_end(tokenizer: Any, name: str) -> None:
    template = choose_template(name, "", tokenizer)
    end = tokenizer.eos_token
    assert template.end_token == end
    for messages, text in ((TALK, TEXTS[name]), (TALK[3:4], PROMPTS[name])):
        expected = text.replace("END", end)
        assert template.render(messages, add_generation_prompt=messages[-1].role == "user") == expected
        assert jinja_of(tokenizer, template, messages) == expected
    assert template.stop == tuple(stop.replace("END", end) for stop in STOPS[name])
    assert "</s>" not in json.dumps(template.to_dict())


def test_alpacas_input_has_its_own_prompt(tokenizer: Any) -> None:
    template = choose_template("alpaca", "", tokenizer)
    messages = [Message("user", "Add.", "1 2"), Message("assistant", "3")]
    expected = ALPACA_WITH_INPUT.replace("END", tokenizer.eos_token)
    assert template.render(messages) == jinja_of(tokenizer, template, messages) == expected


@pytest.mark.parametrize("name", NAMES)
def test_the_end_token_is_one_trained_token_and_nothing_is_added(tokenizer: Any, name: str) -> None:
    before = len(tokenizer)
    template = choose_template(name, "", tokenizer)
    ids, mask = template.encode(tokenizer, TALK[1:3])
    trained = [token for token, is_trained in zip(ids, mask, strict=True) if is_trained]
    assert trained[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(trained[:-1]) == f"{template.answer_lead}b{template.answer_trail}"
    assert ids.count(tokenizer.eos_token_id) == (
        2 if name == "zephyr" else 1
    )  # zephyr ends the user's turn with it, too
    assert len(tokenizer) == before


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_template_is_the_fitted_one(tokenizer: Any, name: str, tmp_path: Path) -> None:
    template = choose_template(name, "", tokenizer)
    save_template(template, tmp_path)
    assert load_template(tmp_path) == template
    # found again beside the model, it fits as it is
    assert choose_template("", str(tmp_path), tokenizer) == template


def test_a_tokenizer_that_has_the_end_token_keeps_it(tokenizers: dict[str, Any]) -> None:
    for name, kind in (("chatml", "qwen2.5-instruct"), ("chatml-base", "qwen2.5-instruct"), ("phi-2", "phi-2")):
        assert choose_template(name, "", tokenizers[kind]) == get_template(name)
    assert describe_end(get_template("chatml")) == "template chatml: answers end with <|im_end|>"


def test_the_line_says_which_end_token_is_used(tokenizer: Any) -> None:
    line = describe_end(choose_template("alpaca", "", tokenizer))
    assert (
        line
        == f"template alpaca: answers end with {tokenizer.eos_token}, the tokenizer's own end token (it has no </s>)"
    )


@pytest.mark.parametrize(("name", "token"), [("chatml", "<|im_start|>"), ("llama-3", "<|start_header_id|>")])
def test_a_template_that_needs_more_than_an_end_token_is_refused(
    tokenizers: dict[str, Any], name: str, token: str
) -> None:
    template = choose_template(name, "", tokenizers["phi-2"])
    with pytest.raises(TemplateError, match=rf"needs the token '{token.replace('|', '[|]')}'"):
        template.encode(tokenizers["phi-2"], TALK)


@pytest.mark.parametrize("name", [*NAMES, "chatml", "phi-2", "mistral"])
def test_a_system_prompt_replaces_the_default_in_python_and_jinja(tokenizers: dict[str, Any], name: str) -> None:
    tokenizer = tokenizers["phi-2" if name == "phi-2" else "qwen2.5-instruct"]
    template = choose_template(name, "", tokenizer, system="Cite {{ pages }}.")
    for question in (Message("user", "c"), Message("user", "c", "context")):
        given = [Message("system", "Cite {{ pages }}."), question]
        text = template.render([question], add_generation_prompt=True)
        assert text == template.render(given, add_generation_prompt=True)
        assert text == jinja_of(tokenizer, template, [question])
    assert template.render(TALK) == choose_template(name, "", tokenizer).render(TALK), "a row's own message is kept"


@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed")
def test_go_renders_what_we_render(tokenizers: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "main.go").write_text(GO)
    cases, expected = [], []
    for kind, tokenizer in tokenizers.items():
        names = [*NAMES, "mistral", *(["phi-2"] if kind == "phi-2" else ["chatml", "chatml-base"])]
        for name in names:
            for system in ("", "Cite {{ pages }} {content}."):
                template = choose_template(name, "", tokenizer, system=system)
                for messages in (TALK[:2], TALK[1:2], TALK[:4], TALK[1:4]):
                    plain = [{"Role": message.role, "Content": message.content} for message in messages]
                    cases.append({"Template": to_go(template), "Messages": plain})
                    expected.append(template.render(messages, add_generation_prompt=True))
    assert len(cases) > 100
    done = subprocess.run(
        ["go", "run", str(tmp_path / "main.go")], input=json.dumps(cases), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == expected

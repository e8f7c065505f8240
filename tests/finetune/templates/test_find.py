import json
from pathlib import Path

import pytest

from finetune.errors import TemplateError
from finetune.templates.builtin import TEMPLATE_NAMES, get_template
from finetune.templates.find import find_template, load_template, save_template
from finetune.templates.template import Template


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("Qwen/Qwen2.5-1.5B-Instruct", "chatml"),
        ("Qwen/Qwen2.5-1.5B", "chatml-base"),
        ("microsoft/phi-2", "phi-2"),
        ("HuggingFaceH4/zephyr-7b-beta", "zephyr"),
        ("meta-llama/Llama-2-7b-chat-hf", "llama-2"),
    ],
)
def test_a_models_name_chooses_its_template(model, expected):
    assert find_template(model).name == expected


@pytest.mark.parametrize(
    ("kind", "end", "expected"),
    [
        ("qwen2", "<|im_end|>", "chatml"),
        ("qwen2", "<|endoftext|>", "chatml-base"),
        ("phi", "<|endoftext|>", "phi-2"),
    ],
)
def test_a_folders_model_type_and_end_token_choose_its_template(tmp_path, kind, end, expected):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": end}))
    assert find_template(str(tmp_path)).name == expected


def test_an_unknown_model_is_reported_with_the_template_names():
    with pytest.raises(TemplateError, match="--template: chatml, chatml-base, phi-2"):
        find_template("state-spaces/mamba-130m")


@pytest.mark.parametrize("name", TEMPLATE_NAMES)
def test_a_stored_template_comes_back_equal(tmp_path: Path, name):
    save_template(get_template(name), tmp_path)
    assert load_template(tmp_path) == get_template(name)
    assert Template.from_dict(json.loads(json.dumps(get_template(name).to_dict()))) == get_template(name)

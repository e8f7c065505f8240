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
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "zephyr"),
        ("meta-llama/Llama-3.2-1B-Instruct", "llama-3"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3"),
        ("mistralai/Mistral-7B-Instruct-v0.2", "mistral"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-v3"),
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


@pytest.mark.parametrize(
    ("kind", "chat_template", "tokens", "expected"),
    [
        ("llama", "{{ bos_token }}{{ '<|start_header_id|>' + message['role'] }}", [], "llama-3"),
        ("llama", "{{ '<<SYS>>\\n' + system }}{{ bos_token + '[INST] ' + content }}", ["<s>"], "llama-2"),
        ("llama", "{{ '<|user|>\\n' + message['content'] + eos_token }}", ["</s>"], "zephyr"),
        ("mistral", "{{ '[INST] ' + message['content'] + ' [/INST]' }}", ["<s>"], "mistral"),
        ("mistral", "{{ '[INST] ' + message['content'] + '[/INST]' }}", ["<s>", "[INST]"], "mistral-v3"),
    ],
)
@pytest.mark.parametrize("place", ["chat_template.jinja", "tokenizer_config.json"])
def test_the_chat_template_of_a_llama_or_mistral_folder_chooses_its_template(
    tmp_path, kind, chat_template, tokens, expected, place
):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": [{"content": t} for t in tokens]}))
    json_file = place.endswith(".json")
    (tmp_path / place).write_text(json.dumps({"chat_template": chat_template}) if json_file else chat_template)
    assert find_template(str(tmp_path)).name == expected


def test_the_name_of_a_llama_folder_without_chat_template_chooses_its_template(tmp_path):
    folder = tmp_path / "Llama-3.2-1B-Instruct"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    assert find_template(folder).name == "llama-3"


@pytest.mark.parametrize("chat_template", [None, "{{ '[INST]' + message['content'] + '[/INST]' }}"])
def test_a_folder_of_another_format_is_reported_with_the_template_names(tmp_path, chat_template):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mistral"}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": chat_template}))
    with pytest.raises(TemplateError, match=r"model type 'mistral'"):
        find_template(tmp_path)


def test_an_unknown_model_is_reported_with_the_template_names():
    with pytest.raises(TemplateError, match="--template: chatml, chatml-base, phi-2"):
        find_template("state-spaces/mamba-130m")


@pytest.mark.parametrize("name", TEMPLATE_NAMES)
def test_a_stored_template_comes_back_equal(tmp_path: Path, name):
    save_template(get_template(name), tmp_path)
    assert load_template(tmp_path) == get_template(name)
    assert Template.from_dict(json.loads(json.dumps(get_template(name).to_dict()))) == get_template(name)

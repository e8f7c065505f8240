import json

from finetune.templates.builtin import QWEN_SYSTEM, TEMPLATE_NAMES, get_template
from finetune.templates.messages import Message
from tests.finetune.templates.make_template_goldens import CASES, FOLDER, golden


def test_every_template_has_one_golden_file_and_renders_it():
    found = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
    assert sorted(found) == sorted(TEMPLATE_NAMES)
    assert len(found) == 10
    for name in TEMPLATE_NAMES:
        assert golden(name) == found[name], name
        assert list(found[name]["renders"]) == list(CASES)


def test_chatml_writes_qwens_own_text():
    text = get_template("chatml").render([Message("user", "Hi."), Message("assistant", "Hello!")])
    assert text == (
        f"<|im_start|>system\n{QWEN_SYSTEM}<|im_end|>\n<|im_start|>user\nHi.<|im_end|>\n"
        "<|im_start|>assistant\nHello!<|im_end|>\n"
    )


def test_phi_2_writes_instruct_and_output_for_several_turns():
    turns = [
        Message("user", "a"),
        Message("assistant", "b"),
        Message("user", "c"),
    ]
    text = get_template("phi-2").render(turns, add_generation_prompt=True)
    assert text == "Instruct: a\nOutput: b<|endoftext|>\nInstruct: c\nOutput:"


def test_alpaca_has_both_published_prompts():
    template = get_template("alpaca")
    assert template.render([Message("user", "Add.", "1 2")], add_generation_prompt=True) == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:"
    )
    assert template.render([Message("user", "Add.")], add_generation_prompt=True) == (
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Response:"
    )


def test_llama_2_puts_the_system_text_into_the_first_user_turn_only():
    turns = [Message("system", "S"), Message("user", "a"), Message("assistant", "b"), Message("user", "c")]
    text = get_template("llama-2").render(turns, add_generation_prompt=True)
    assert text == "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\na [/INST] b </s><s>[INST] c [/INST]"


TURNS = [Message("system", "S"), Message("user", "a"), Message("assistant", "b"), Message("user", "c")]


def test_llama_3_writes_metas_headers():
    assert get_template("llama-3").render(TURNS, add_generation_prompt=True) == (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\na<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nb<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nc<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_mistral_opens_only_the_first_turn_and_has_the_system_text_in_it():
    assert get_template("mistral").render(TURNS, add_generation_prompt=True) == (
        "<s>[INST] S\n\na [/INST] b</s>[INST] c [/INST]"
    )
    assert get_template("mistral-v3").render(TURNS, add_generation_prompt=True) == (
        "<s>[INST] S\n\na[/INST] b</s>[INST] c[/INST]"
    )


def test_a_base_model_ends_its_turns_with_endoftext():
    text = get_template("chatml-base").render([Message("user", "a"), Message("assistant", "b")])
    assert "<|im_end|>" not in text
    assert text.endswith("assistant\nb<|endoftext|>\n")


def test_another_end_token_replaces_the_old_one_everywhere():
    template = get_template("alpaca").with_end_token("<|endoftext|>")
    text = template.render([Message("user", "a"), Message("assistant", "b")])
    assert text.endswith("### Response:b<|endoftext|>\n\n")
    assert "</s>" not in text
    assert template.special_tokens == ("<|endoftext|>",)

import pytest

from finetune.data.records import Text
from finetune.data.sources.loader import load_data
from finetune.data.sources.rendered import leftover_marks
from finetune.errors import InvalidRecord
from finetune.templates.builtin import TEMPLATES
from tests.finetune.data.sources.rows import A, S, U, write

TALK = (U("What is red?"), A("A color."), U("And two?"), A("A number."))
CHATML = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("system", ["", "Be brief."])
def test_what_each_template_renders_is_read_back_into_its_turns(tmp_path, name, system):
    if system and name in ("mistral", "mistral-v3"):
        pytest.skip("these put a system message into the question, where it cannot be told from it")
    turns = (S(system), *TALK) if system else TALK
    text = (
        TEMPLATES[name].with_system("").render(turns)
        if not system and name != "alpaca"
        else TEMPLATES[name].render(turns)
    )
    (record,) = load_data(write(tmp_path, [{"text": text}])).records
    found = record.messages[1:] if record.messages[0].content == "" else record.messages
    assert found == turns


@pytest.mark.parametrize("text", [
    "Human: Q\n\nAssistant: A", "User: Q\nAssistant: A", "A chat between two. USER: Q ASSISTANT: A</s>",
    "<bos><start_of_turn>user\nQ<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n", "<|user|>\nQ<|end|>\n<|assistant|>\nA<|end|>\n",
    "### Question: Q\n ### Answer: A",
    "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nQ [/INST] A </s>",
    "<|begin_of_text|><|header_start|>user<|header_end|>\n\nQ<|eot|><|header_start|>assistant<|header_end|>\n\nA<|eot|>",
    "<｜begin▁of▁sentence｜>Be brief.<｜User｜>Q<｜Assistant｜>A<｜end▁of▁sentence｜>",
    "<|start_of_role|>user<|end_of_role|>Q<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>A<|end_of_text|>",
    "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Q<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>A<|END_OF_TURN_TOKEN|>",
    "<|start|>user<|message|>Q<|end|><|start|>assistant<|channel|>final<|message|>A<|return|>",
])  # fmt: skip
def test_other_tools_prompts_are_read_back(tmp_path, text):
    (record,) = load_data(write(tmp_path, [{"text": text}])).records
    assert record.messages[-2:] == (U("Q"), A("A"))


@pytest.mark.parametrize("text", [
    "ChatML ends a turn with <|im_end|>, as Qwen does.", "Human: a word that begins this sentence.", "Instruct: is a mark.",
    "The token [INST] opens a question.", "### Instruction: is a heading of Alpaca.", "User: the person at the keyboard.",
    "The novel has two voices.\n\nUser: who are you?\n\nIt goes on.", "if (a <| b) { c |> d }",
])  # fmt: skip
def test_prose_that_mentions_a_mark_stays_prose(tmp_path, text):
    assert load_data(write(tmp_path, [{"text": text}])).records == [Text(text, str(tmp_path / "rows.jsonl"), 1)]
    assert leftover_marks(text)[1:] == []


@pytest.mark.parametrize("text", [
    "<|im_start|>user\nQ<|im_end|>\n", "<|im_start|>tool\n42<|im_end|>\n<|im_start|>assistant\nA<|im_end|>", "[INST] Q [INST] R [/INST]",
    "<|start|>user<|message|>Q<|end|><|start|>assistant<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>final<|message|>A",
])  # fmt: skip
def test_a_broken_conversation_is_left_out_and_named(tmp_path, text):
    loaded = load_data(write(tmp_path, [{"text": text}]), strict=False)
    assert loaded.records == []
    assert "has the marks of" in loaded.problems[0].problem


def test_a_row_that_says_so_stays_text(tmp_path):
    text = CHATML + "A<|im_end|>"
    assert isinstance(load_data(write(tmp_path, [{"text": text, "format": "text"}])).records[0], Text)


@pytest.mark.parametrize("row", [
    {"prompt": CHATML, "chosen": "A<|im_end|>\n", "rejected": "B<|im_end|>\n"},
    {"prompt": "Q", "chosen": CHATML + "A<|im_end|>", "rejected": CHATML + "B<|im_end|>"},
    {"prompt": "[INST] Q [/INST]", "chosen": "A</s>", "rejected": "B</s>"},
    {"prompt": "User: Q\nAssistant:", "chosen": "User: Q\nAssistant: A", "rejected": "User: Q\nAssistant: B"},
    {"prompt": "### Instruction:\nQ\n\n### Response:\n", "chosen": "A", "rejected": "B"},
])  # fmt: skip
def test_rendered_prompts_and_answers_of_pairs_are_read_back(tmp_path, row):
    (record,) = load_data(write(tmp_path, [row])).records
    assert (record.prompt, record.chosen, record.rejected) == ((U("Q"),), (A("A"),), (A("B"),))


@pytest.mark.parametrize("row", [
    {"prompt": CHATML, "completion": "A<|im_end|>"}, {"instruction": "[INST] Q [/INST]", "output": "A</s>"},
    {"messages": CHATML + "A<|im_end|>"}, {"prompt": "Human: Q\n\nAssistant:", "response": " A"},
])  # fmt: skip
def test_rendered_prompts_of_conversations_are_read_back(tmp_path, row):
    (record,) = load_data(write(tmp_path, [row]), format=None if "messages" not in row else "messages").records
    assert record.messages == (U("Q"), A("A")) or record.messages == (U("Q"), A(" A"))


def test_an_answer_that_quotes_a_dialogue_stays_an_answer(tmp_path):
    dialogue = "User: hello\nAssistant: hello too"
    (record,) = load_data(write(tmp_path, [{"instruction": "Write a dialogue.", "output": dialogue}])).records
    assert record.messages[-1] == A(dialogue)


@pytest.mark.parametrize(
    "text",
    [
        "<image>\nWhat is this?",
        "<|begin_of_thought|>Hm<|end_of_thought|>4",
        "A<｜end▁of▁sentence｜>",
        "[|Human|]Q[|AI|]A",
    ],
)
def test_marks_of_other_tools_are_named(text):
    assert leftover_marks(text)


def test_leftover_marks_are_those_that_would_be_trained():
    assert leftover_marks("moo</s>") == ["</s>"]
    assert leftover_marks("<|im_start|>user") == ["<|im_start|>"]
    assert leftover_marks("a < b and [1, 2]") == []
    with pytest.raises(InvalidRecord, match="cannot be read back"):
        from finetune.data.sources.rendered import read_conversation

        read_conversation("<|im_start|>user\nQ<|im_end|>")

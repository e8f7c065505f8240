"""Fields beside the texts: followed, without effect, or the row is left out and named."""

import re
from pathlib import Path

import pytest

from finetune.data.records import Preference
from finetune.data.sources.formats import ROW_FORMATS
from finetune.data.sources.loader import load_data
from finetune.data.sources.meanings import (
    ALIASES,
    HISTORY,
    MARKS,
    MESSAGE_FIELDS,
    MESSAGE_RULES,
    ROW_RULES,
    SYSTEM,
    TURN_MARKS,
)
from tests.finetune.data.sources.rows import A, S, U, write

Q, OK = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}
PLAIN = {"messages": [Q, OK]}
TOOL = {"type": "function", "function": {"name": "stock"}}


def problems(tmp_path, *rows, **options):
    loaded = load_data(write(tmp_path, list(rows)), strict=False, **options)
    return loaded, [(problem.row, problem.kind, problem.problem) for problem in loaded.problems]


@pytest.mark.parametrize("row", [
    {**PLAIN, "tools": [TOOL]}, {**PLAIN, "functions": '[{"name": "stock"}]'}, {**PLAIN, "images": ["cow.png"]},
    {"instruction": "Q", "output": "A", "tools": [TOOL]}, {"instruction": "Q", "output": "A", "thinking": "Hm."},
    {"question": "Q", "response": "A", "Complex_CoT": "Hm."}, {"text": "A", "history": [["Q", "A"]]},
    {"messages": [Q, {**OK, "tool_calls": [TOOL]}]}, {"messages": [Q, {**OK, "content": None, "function_call": {"name": "f"}}]},
    {"messages": [Q, {**OK, "reasoning_content": "Hm."}]}, {"conversations": [Q, {**OK, "thinking": "Hm."}]},
    {"conversations": [{"from": "human", "value": "Q"}, {"from": "function_call", "value": "{}"}]},
    {"messages": [Q, {**OK, "weight": 0.5}]}, {"messages": [Q, {**OK, "weight": 0}]}, {"messages": [{**Q, "train": True}, OK]},
    {"messages": [Q, {**OK, "train": False, "loss": True}]}, {**PLAIN, "weight": 0.25},
    {**PLAIN, "weights": 0}, {**PLAIN, "train": False}, {**PLAIN, "loss": 0}, {**PLAIN, "skip": "yes"},
    {"messages": [Q, {**OK, "mask": False}]}, {"messages": [Q, {**OK, "ignore": True}, Q, OK]},
    {"prompt": "Q", "completion": "A", "context": "C"}, {"prompt": {"messages": [Q], "tools": [TOOL]}, "chosen": "A", "rejected": "B"},
    {"messages": [{"role": "system", "content": "S"}, Q, OK], "system": "other"},
])  # fmt: skip
def test_a_row_that_training_cannot_follow_is_left_out_and_named(tmp_path, row):
    plain = next(good for good in (PLAIN, {"text": "a"}, {"instruction": "Q", "output": "A"}, {"question": "Q", "response": "A"},
                                   {"conversations": [Q, OK]}, {"prompt": "Q", "completion": "A"},
                                   {"prompt": "Q", "chosen": "A", "rejected": "B"}) if good.keys() <= row.keys())  # fmt: skip
    loaded, found = problems(tmp_path, plain, row)
    assert loaded.kept == 1
    ((number, kind, problem),) = found
    assert (number, kind) in ((2, "not supported"), (2, "left out")), problem


@pytest.mark.parametrize("row", [
    {**PLAIN, "tools": [], "functions": "[]", "images": None, "system": "", "history": []}, {**PLAIN, "weight": 1},
    {"messages": [{**Q, "weight": 1}, {**OK, "weight": 1.0, "tool_calls": None, "reasoning_content": "", "name": "cow"}]},
    {"messages": [{**Q, "train": False}, {**OK, "loss": True}]}, {**PLAIN, "train": True, "loss": 1.5, "skip": "0"},
])  # fmt: skip
def test_an_empty_field_and_a_weight_of_1_change_nothing(tmp_path, row):
    loaded, found = problems(tmp_path, row)
    assert found == []
    assert loaded.records[0].messages == (U("Q"), A("A"))


@pytest.mark.parametrize("mark", [
    {"weight": 0}, {"train": False}, {"loss": False}, {"loss_mask": 0}, {"trainable": "false"}, {"weight": 0.0}, {"mask_loss": True},
    {"train_on_turn": False}, {"is_trained": 0},
])  # fmt: skip
def test_a_turn_marked_as_not_trained_is_part_of_the_prompt(tmp_path, mark):
    row = {"messages": [Q, {**OK, **mark}, Q, OK]}
    (record,) = load_data(write(tmp_path, [row])).records
    assert [message.trained for message in record.messages if message.role == "assistant"] == [False, True]


def test_an_untrained_turn_has_no_token_in_the_loss_and_the_same_ids(models):
    from transformers import AutoTokenizer

    from finetune.templates.builtin import get_template
    from finetune.templates.messages import Message

    for kind, name in (("qwen2", "chatml"), ("phi", "phi-2")):
        tokenizer = AutoTokenizer.from_pretrained(models[kind])
        turns = (U("Cow?"), A("Moo."), U("Dog?"), A("Woof."))
        marked = (turns[0], Message("assistant", "Moo.", trained=False), *turns[2:])
        template = get_template(name)
        whole, part = (template.encode(tokenizer, messages) for messages in (turns, marked))
        assert part.input_ids == whole.input_ids
        answer = template.encode_answer(tokenizer, turns[-1:])
        assert sum(part.loss_mask) == len(answer) < sum(whole.loss_mask)
        assert [i for i, kept in zip(part.input_ids, part.loss_mask, strict=True) if kept] == answer


def test_marks_of_turns_survive_convert(tmp_path):
    from finetune.data.convert import write_rows

    first = load_data(write(tmp_path, [{"messages": [Q, {**OK, "train": False}, Q, OK]}])).records
    write_rows(first, tmp_path / "out.jsonl")
    assert load_data(tmp_path / "out.jsonl").records[0].messages == first[0].messages


@pytest.mark.parametrize("history", [
    [["one?", "1"]], [{"role": "user", "content": "one?"}, {"role": "assistant", "content": "1"}], '[["one?", "1"]]',
    [{"question": "one?", "answer": "1"}],
])  # fmt: skip
@pytest.mark.parametrize("row", [
    {"instruction": "Q", "input": "", "output": "A"}, {"query": "Q", "response": "A"}, {"prompt": "Q", "completion": "A"},
    {"instruction": "Q", "chosen": "A", "rejected": "B"}, {"instruction": "Q", "output": "A", "kto_tag": True},
])  # fmt: skip
@pytest.mark.parametrize(
    ("name", "system"), [("history", "system"), ("previousMessages", "System Prompt"), ("prior_turns", "sys")]
)
def test_earlier_turns_come_before_the_question(tmp_path, row, history, name, system):
    (record,) = load_data(write(tmp_path, [{**row, name: history, system: "S"}])).records
    turns = record.messages[:-1] if hasattr(record, "messages") else record.prompt
    assert turns == (S("S"), U("one?"), A("1"), U("Q"))


@pytest.mark.parametrize("system", [
    "S", [{"role": "system", "content": "S"}], {"role": "system", "content": "S"}, ["S"], [{"type": "text", "text": "S"}],
    '[{"role": "system", "content": "S"}]',
])  # fmt: skip
@pytest.mark.parametrize(
    "row", [PLAIN, {"prompt": "Q", "chosen": "A", "rejected": "B"}, {"instruction": "Q", "output": "A"}]
)
def test_a_system_message_is_read_in_any_form(tmp_path, row, system):
    (record,) = load_data(write(tmp_path, [{**row, "system": system}])).records
    turns = record.messages[:-1] if hasattr(record, "messages") else record.prompt
    assert turns == (S("S"), U("Q"))


def test_a_system_message_in_the_prompt_of_whole_conversations_stays(tmp_path):
    row = {
        "prompt": [{"role": "system", "content": "S"}, Q],
        "chosen": [Q, OK],
        "rejected": [Q, {**OK, "content": "B"}],
    }
    other = {**row, "prompt": [{"role": "system", "content": "S"}, {"role": "user", "content": "another"}]}
    loaded, found = problems(tmp_path, row, other)
    assert loaded.records[0].prompt == (S("S"), U("Q"))
    assert [(number, kind) for number, kind, _ in found] == [(2, "unequal beginning")]


@pytest.mark.parametrize("row", [
    {**PLAIN, "rejected_response": "B"}, {**PLAIN, "rejected_messages": [Q, {**OK, "content": "B"}]},
    {"instruction": "Q", "output": "A", "rejected_output": "B"}, {"conversations": [Q, OK], "rejected": "B"},
])  # fmt: skip
def test_a_rejected_answer_beside_a_conversation_makes_a_pair(tmp_path, row):
    loaded = load_data(write(tmp_path, [row]))
    assert loaded.format == "rejected-response"
    assert loaded.records == [Preference((U("Q"),), (A("A"),), (A("B"),), str(tmp_path / "rows.jsonl"), 1)]


def test_fields_of_messages_without_effect_and_a_mixture_of_splits_are_listed(tmp_path):
    rows = [{"messages": [Q, {**OK, "mood": "calm", "weight": 1}], "split": name} for name in ("train", "test")]
    loaded = load_data(write(tmp_path, rows))
    assert loaded.unread == ["split", "mood (of a message)"]
    assert loaded.notices == ["rows of several splits are in one file, and all of them are read: test, train"]


def test_fields_without_effect_are_listed_once(tmp_path):
    loaded = load_data(write(tmp_path, [{**PLAIN, "id": 1, "topic": "cows"}, {**PLAIN, "id": 2}]))
    assert loaded.unread == ["id", "topic"]
    assert loaded.sentences() == ["fields without effect: id, topic"]


HANDBOOK = Path(__file__).parents[4] / "docs" / "handbook" / "19-training-data.md"


def table(head: str) -> dict[str, str]:
    """Return the lines of one table of the handbook by their first cell."""
    text = HANDBOOK.read_text(encoding="utf-8")
    lines = text[text.index(f"| {head} |") :].split("\n\n")[0].splitlines()[2:]
    return {line.split(" | ")[0].strip("| "): line for line in lines}


def test_every_format_is_in_the_table_of_the_handbook_with_its_fields():
    rows = table("format | fields")
    assert rows.keys() == {format.name for format in ROW_FORMATS} | {"oasst", "helpsteer", "kto"}
    for format in ROW_FORMATS:
        own = [name for name in re.findall(r"\w+", re.sub(r"\(.*?\)", "", format.fields)) if name in format.reads]
        assert [name for name in own if f"`{name}" not in rows[format.name]] == [], format.name


@pytest.mark.parametrize(
    ("head", "rules", "used"),
    [
        ("field of a row", ROW_RULES, {*SYSTEM, *HISTORY, *ALIASES, *MARKS, "split_group", "split", "format", "input", "text"}),
        ("field of a message", MESSAGE_RULES, {*TURN_MARKS, *MESSAGE_FIELDS, "tool", "function", "observation"}),
    ],
)  # fmt: skip
def test_the_table_of_the_handbook_names_every_field_that_has_a_meaning_and_no_other(head, rules, used):
    refused = {name: rule for rule in rules for name in rule.names}
    lines = table(head)
    for name in refused:
        assert any(f"`{name}`" in cell and "left out" in line for cell, line in lines.items()), name
    named = {name for line in lines.values() for name in re.findall(r"`(\w+)`", line.split(" | ")[0])}
    assert named - {"text"} == (refused.keys() | used) - {"text"}

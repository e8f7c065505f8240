import json

import pytest

from finetune.data.sources.loader import load_data
from finetune.errors import UnknownFormat
from tests.finetune.data.sources.rows import A, U, write

TALK = [{"role": "user", "content": 'It\'s "Q"?'}, {"role": "assistant", "content": "A, {b}\nc"}]
BAD = [TALK[0], {"role": "assistant", "content": "B"}]
TURNS = (U('It\'s "Q"?'), A("A, {b}\nc"))
PRINTED = "[" + "\n ".join(map(repr, TALK)) + "]"  # as pandas prints an array
WRITTEN = [json.dumps(TALK), repr(TALK), PRINTED, f"array([{TALK[0]!r},\n       {TALK[1]!r}], dtype=object)"]


@pytest.mark.parametrize("text", WRITTEN)
def test_a_list_of_messages_in_text_equals_the_list(tmp_path, text):
    for name in ("messages", "conversations"):
        assert load_data(write(tmp_path, [{name: text}])).records[0].messages == TURNS


@pytest.mark.parametrize("dump", [json.dumps, repr])
def test_pairs_and_prompts_in_text_equal_the_lists(tmp_path, dump):
    for prompt in (TALK[0]["content"], dump(TALK[:1])):
        row = {"prompt": prompt, "chosen": dump(TALK), "rejected": dump(BAD)}
        (record,) = load_data(write(tmp_path, [row])).records
        assert (record.prompt, record.chosen, record.rejected) == (TURNS[:1], TURNS[1:], (A("B"),))
    row = {"prompt": dump(TALK[:1]), "completion": dump(TALK[1:])}
    assert load_data(write(tmp_path, [row])).records[0].messages == TURNS
    row = {"question": dump(TALK[:1]), "response": dump(TALK[1])}
    assert load_data(write(tmp_path, [row])).records[0].messages == TURNS


def test_csv_and_parquet_hold_lists_as_text_or_columns(tmp_path):
    import csv

    import pyarrow
    import pyarrow.parquet

    with (tmp_path / "x.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["messages"], [repr(TALK)]])
    columns = {"from": ["human", "gpt"], "value": [turn["content"] for turn in TALK]}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"conversations": columns}]), tmp_path / "x.parquet")
    for name in ("x.csv", "x.parquet"):
        assert load_data(tmp_path / name).records[0].messages == TURNS, name


@pytest.mark.parametrize("answer", ["[1, 2]", '{"a": 1}', "[{'name': 'cow'}]", "[]", '["role"]'])
def test_other_lists_stay_answers(tmp_path, answer):
    assert load_data(write(tmp_path, [{"prompt": "Q", "completion": answer}])).records[0].messages == (
        U("Q"),
        A(answer),
    )


@pytest.mark.parametrize(
    "text", [WRITTEN[0][:-9], WRITTEN[1][:-9], "[{'role': __import__('os').getcwd(), 'content': 'a'}]"]
)
def test_a_truncated_list_and_an_expression_are_left_out_and_named(tmp_path, text):
    good = {"prompt": "Q", "completion": "A"}
    loaded = load_data(write(tmp_path, [good, {"prompt": "Q", "completion": text}]), strict=False)
    assert loaded.kept == 1
    assert "begins like a list of messages" in loaded.problems[0].problem


def test_messages_that_are_other_text_are_named_as_text(tmp_path):
    with pytest.raises(UnknownFormat, match="`messages` holds text, and no list"):
        load_data(write(tmp_path, [{"messages": "What does the cow say?"}]))

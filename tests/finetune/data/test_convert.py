import gzip
import json

import pytest

from finetune.data.convert import require_rows_file, row_of, write_rows
from finetune.data.records import Conversation, Label, Preference, Text
from finetune.data.sources.loader import load_data
from finetune.data.split import split
from finetune.errors import DataError
from finetune.templates.builtin import get_template
from finetune.templates.messages import Message
from quire import UsageError
from tests.finetune.data.sources.rows import A, S, U, write
from tests.finetune.data.sources.test_formats import PAIRS, SFT
from tests.finetune.data.sources.test_oasst import tree, wrap

TRANSCRIPT = "### Human: Q### Assistant: A"
ANIMALS = [{"post_id": f"p{n % 7}", "history": f"Q{n}", "human_ref_A": f"a{n}", "human_ref_B": f"b{n}", "labels": n % 2}
           for n in range(30)]  # fmt: skip
RECORDS = [
    [Conversation((S("rules"), Message("user", "Add.", "1 2"), A("3"), U("more"), A("4\u2028\n\t'\"</s>")))],
    [Preference((U("Q"),), (A("good"),), (A("bad"),)), Preference((S("s"), Message("user", "Q", "c")), (A("1"),), (A("2"),))],
    [Preference((U("Q"),), (A("same"), U("and?"), A("good")), (A("same"), U("and?"), A("bad")))],
    [Label((U("Q"),), (A("yes"),), True), Label((U("Q"),), (A("no"),), False)],
    [Text("plain"), Text(TRANSCRIPT)],
    [Text(TRANSCRIPT)],
]  # fmt: skip


def plain(records):
    """What a record is, without the file and row it was read from."""
    return [(type(record), record.to_dict(), record.group) for record in records]


def written_and_read(records, folder, name="out.jsonl"):
    write_rows(records, folder / name)
    loaded = load_data(folder / name)
    assert loaded.problems == []
    return loaded.records


@pytest.mark.parametrize("records", RECORDS)
def test_every_kind_of_record_comes_back_equal(tmp_path, records):
    assert plain(written_and_read(records, tmp_path)) == plain(records)


@pytest.mark.parametrize("task", [None, "sft", "preference", "label"])
@pytest.mark.parametrize("row", [row for _, row, _ in (*SFT, *PAIRS)])
def test_every_format_comes_back_equal_for_every_task_it_has(tmp_path, row, task):
    source = write(tmp_path, [row])
    try:
        records = load_data(source, task=task).records
    except DataError:  # a conversation has no pair
        assert task in ("preference", "label")
        return
    assert records
    assert plain(written_and_read(records, tmp_path)) == plain(records)


@pytest.mark.parametrize("task", ["sft", "preference", "label"])
def test_trees_come_back_equal_and_in_their_groups(tmp_path, task):
    trees = [json.loads(json.dumps(wrap(tree())).replace('"message_id": "', f'"message_id": "{n}-')) for n in range(8)]
    records = load_data(write(tmp_path, trees), task=task).records
    assert len({record.group for record in records}) == 8
    read = written_and_read(records, tmp_path)
    assert plain(read) == plain(records)
    assert plain(split(read, held_out=0.3, seed=1).held_out) == plain(split(records, held_out=0.3, seed=1).held_out)


@pytest.mark.parametrize("pairs", ["all", "best-random"])
def test_a_file_is_split_like_its_source(tmp_path, pairs):
    ranked = [{"prompt": f"Q{n}", "responses": ["a", "b", "c"]} for n in range(20)]
    for number, rows in enumerate((ANIMALS, ranked)):
        records = load_data(write(tmp_path, rows, f"{number}.jsonl"), pairs=pairs).records
        read = written_and_read(records, tmp_path)
        ours, theirs = split(records, held_out=0.2, seed=3), split(read, held_out=0.2, seed=3)
        assert ours.held_out
        assert [plain(part) for part in ours] == [plain(part) for part in theirs]


def test_the_input_of_an_alpaca_row_keeps_its_place_in_the_prompt(tmp_path):
    source = write(tmp_path, [{"instruction": "Add.", "input": "1 2", "output": "3"}])
    (record,) = written_and_read(load_data(source).records, tmp_path)
    assert "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:3" in get_template("alpaca").render(
        record.messages
    )


def test_the_same_records_give_the_same_bytes_packed_too(tmp_path):
    for name in ("out.jsonl", "out.jsonl.gz"):
        records = RECORDS[0]
        assert plain(written_and_read(records, tmp_path, name)) == plain(records)
        first = (tmp_path / name).read_bytes()
        write_rows(records, tmp_path / "sub" / name)
        assert (tmp_path / "sub" / name).read_bytes() == first
    assert gzip.decompress(first) == (tmp_path / "out.jsonl").read_bytes()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    write_rows(RECORDS[0], tmp_path / "out.jsonl")
    before = (tmp_path / "out.jsonl").read_bytes()
    half = Text("half \ud800 of a pair")
    with pytest.raises(UnicodeEncodeError):
        write_rows([Text("good"), half], tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written.*name another file"):
        write_rows(RECORDS[0], tmp_path / "file" / "out.jsonl")


def test_records_of_two_kinds_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"2 kinds: conversation, text.*training takes several"):
        write_rows([*RECORDS[0], Text("plain")], tmp_path / "out.jsonl")
    with pytest.raises(UsageError, match=r"2 kinds: preference, text.*--task"):
        write_rows([*RECORDS[1], Text("plain")], tmp_path / "out.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_only_a_new_rows_file_may_be_written(tmp_path):
    (tmp_path / "old.jsonl").write_text("")
    (tmp_path / "folder.jsonl").mkdir()
    for name, problem in (
        ("old.jsonl", "exists.*--force"),
        ("a.csv", r"not a \.jsonl file"),
        ("folder.jsonl", "is a folder"),
    ):
        with pytest.raises(UsageError, match=problem):
            require_rows_file(tmp_path / name, flag="--out", overwrite=False)
    require_rows_file(tmp_path / "old.jsonl", flag="--out", overwrite=True)
    require_rows_file(tmp_path / "new.jsonl.gz", flag="--out", overwrite=False)


def test_a_record_without_a_group_has_no_field_for_it():
    assert row_of(Text("a")) == {"text": "a"}
    assert row_of(Text("a", group="g")) == {"text": "a", "split_group": "g"}

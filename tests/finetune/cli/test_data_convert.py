import json

import pytest

from finetune.cli import main
from finetune.data.sources.loader import load_data
from finetune.data.split import split
from tests.finetune.data.sources.test_oasst import tree, wrap


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = [{"instruction": f"Say {n}", "input": "", "output": f"It is {n}." if n % 4 else " "} for n in range(1, 9)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "broken\n")
    return path


def test_what_was_dropped_is_reported_with_its_rows(rows, tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    assert main(["data", "convert", str(rows), "--out", str(out)]) == 0
    caught = capsys.readouterr()
    assert "dropped, empty: rows 4, 8 (empty answer)" in caught.out
    assert "dropped, malformed: row 9 (not JSON: Expecting value at column 1)" in caught.out
    assert "format alpaca: 9 rows, 6 kept, 6 records" in caught.out
    assert f"{rows}: alpaca, 6 of 9 rows kept, 6 records\nwrote 6 rows to {out}\n" == caught.err
    assert len(out.read_text().splitlines()) == 6


def test_json_has_the_counts_and_every_problem(rows, tmp_path, printed):
    out = tmp_path / "out.jsonl.gz"
    assert main(["data", "convert", str(rows), str(rows), "--out", str(out), "--json"]) == 0
    found = printed()
    assert (found["rows"], found["kept"], found["records"]) == (18, 12, 12)
    assert found["written"] == {str(out): 12}
    assert found["counts"] == {"empty": 4, "malformed": 2}
    assert [problem["row"] for problem in found["problems"]] == [4, 8, 9] * 2


def test_a_file_is_replaced_only_with_force(rows, tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    out.write_text("mine")
    assert main(["data", "convert", str(rows), "--out", str(out)]) == 2
    assert "--force" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main(["data", "convert", str(rows), "--out", str(out), "--force"]) == 0
    assert len(load_data(out).records) == 6


@pytest.mark.parametrize(("flags", "problem"), [
    (["--out", "{folder}/rows.jsonl", "--force"], "is one of the sources"),
    (["--out", "{folder}/a.jsonl", "--valid", "{folder}/a.jsonl"], "are the same file"),
    (["--out", "{folder}/a.jsonl", "--valid-share", "0.1"], "--valid-share needs --valid"),
    (["--out", "{folder}/a.jsonl", "--valid", "{folder}/b.jsonl", "--valid-share", "1"], "must be above 0 and below 1"),
    (["--out", "{folder}/a.jsonl", "--text-column", "output", "--format", "alpaca"], "exclude each other"),
])  # fmt: skip
def test_flags_that_do_not_go_together_are_wrong_usage(rows, tmp_path, flags, problem, capsys):
    before = rows.read_bytes()
    assert main(["data", "convert", str(rows), *(flag.format(folder=tmp_path) for flag in flags)]) == 2
    assert problem in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    assert rows.read_bytes() == before


def test_no_file_is_written_into_a_source_folder(rows, tmp_path, capsys):
    assert main(["data", "convert", str(tmp_path), "--out", str(tmp_path / "a.jsonl")]) == 2
    assert "name a file in another folder" in capsys.readouterr().err


def test_without_a_row_nothing_is_written_and_the_exit_code_is_1(tmp_path, capsys):
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"prompt": "Q", "chosen": "same", "rejected": "same"}\n')
    assert main(["data", "convert", str(source), "--out", str(out)]) == 1
    caught = capsys.readouterr()
    assert "dropped, equal answers: row 1" in caught.out
    assert "no row is left to train on: nothing was written" in caught.err
    assert not out.exists()


def test_trees_are_filtered_by_the_flags(tmp_path, capsys):
    source, out = tmp_path / "trees.jsonl", tmp_path / "out.jsonl"
    german = json.loads(
        json.dumps(tree()).replace('"lang": "en"', '"lang": "de"').replace('"message_id": "', '"message_id": "de-')
    )
    source.write_text(json.dumps(wrap(tree())) + "\n" + json.dumps(wrap(german)) + "\n")
    flags = ["--language", "en", "--depth", "2", "--pick", "best"]
    assert main(["data", "convert", str(source), "--out", str(out), *flags]) == 0
    assert "tree, language de: row 2" in capsys.readouterr().out
    (record,) = load_data(out).records
    assert [message.content for message in record.messages] == ["Q", "best"]
    assert main(["data", "check", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == "messages"


def test_any_column_is_taken_as_text(tmp_path, capsys):
    source, out = tmp_path / "quotes.csv", tmp_path / "out.jsonl"
    source.write_text("author,quote\nSeneca,Time discovers truth.\nSeneca,\n")
    for command in (["check", str(source)], ["show", str(source)], ["convert", str(source), "--out", str(out)]):
        assert main(["data", *command, "--text-column", "quote"]) == 0
    assert "dropped, empty: row 2 (empty text)" in capsys.readouterr().out
    assert [record.text for record in load_data(out).records] == ["Time discovers truth."]
    assert main(["data", "convert", str(source), "--out", str(out), "--force", "--text-column", "quotes"]) == 1
    assert "`quotes` is missing (fields: author, quote)" in capsys.readouterr().out


def test_held_out_rows_are_those_that_training_would_hold_out(tmp_path, capsys):
    source, out, held = tmp_path / "pairs.jsonl", tmp_path / "out.jsonl", tmp_path / "held.jsonl"
    source.write_text("".join(
        json.dumps({"prompt": f"Q{n % 10}", "responses": [f"a{n}", f"b{n}"]}) + "\n" for n in range(40)
    ))  # fmt: skip
    flags = ["--valid", str(held), "--valid-share", "0.2", "--seed", "3"]
    assert main(["data", "convert", str(source), "--out", str(out), *flags]) == 0
    expected = split(load_data(source).records, held_out=0.2, seed=3)
    assert [len(part) for part in expected] == [32, 8]
    for file, part in zip((out, held), expected, strict=True):
        assert [record.to_dict() for record in load_data(file).records] == [record.to_dict() for record in part]
    lonely = tmp_path / "one.jsonl"
    lonely.write_text('{"prompt": "Q", "completion": "A"}\n')
    assert (
        main(["data", "convert", str(lonely), "--out", str(tmp_path / "x.jsonl"), "--valid", str(tmp_path / "y.jsonl")])
        == 1
    )
    assert "leave --valid out" in capsys.readouterr().err

import json

import pytest

from finetune.data.sources.loader import load_data
from tests.finetune.data.sources.rows import A, U

ROW = '{"instruction": "Q", "output": "A"}'
PRETTY = '{\n "instruction": "Q",\n "output": "A"\n}\n'


def load(tmp_path, text, name):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    return load_data(path, strict=False)


@pytest.mark.parametrize(("name", "text"), [
    ("x.jsonl", f"{ROW},\n{ROW},\n"), ("x.jsonl", f"{ROW}\r{ROW}\r"), ("x.jsonl", f"\ufeff{ROW}\n\ufeff{ROW}\n"),
    ("x.json", PRETTY * 2), ("x.json", f"{ROW}\n{ROW}"), ("x.json", f"[{ROW}, {ROW},]"),
    ("x.json", '{"instruction": ["Q", "Q"], "output": ["A", "A"]}'),
    ("x.json", '{"instruction": {"0": "Q", "1": "Q"}, "output": {"0": "A", "1": "A"}}'),
    ("x.json", f'{{"version": 1, "data": [{ROW}, {ROW}]}}'), ("x.json", f'{{"train": [{ROW}, {ROW}], "test": [{ROW}]}}'),
])  # fmt: skip
def test_rows_are_read_in_the_forms_that_tools_write(tmp_path, name, text):
    loaded = load(tmp_path, text, name)
    assert [record.messages for record in loaded.records] == [(U("Q"), A("A"))] * 2
    assert loaded.problems == []


def test_splits_that_are_not_read_are_said(tmp_path):
    loaded = load(tmp_path, f'{{"train": [{ROW}], "test": [{ROW}], "dev": [{ROW}]}}', "x.json")
    assert (loaded.kept, loaded.sentences()) == (1, ["x.json: left out, as they are other splits: test, dev"])


def test_a_fault_in_a_list_does_not_end_the_reading(tmp_path):
    loaded = load(tmp_path, f'[\n  {ROW},\n  {{"instruction": "Q", "input": NaN}},\n  {ROW}\n]', "x.json")
    assert (loaded.rows, loaded.kept, [(p.row, p.line) for p in loaded.problems]) == (3, 2, [(2, 3)])
    loaded = load(tmp_path, f'[\n  {ROW},\n  {{"instruction" "Q"}},\n  {ROW}\n]', "x.json")
    assert (loaded.rows, loaded.kept, [(p.row, p.line) for p in loaded.problems]) == (3, 2, [(2, 3)])


def test_what_cannot_be_read_after_a_fault_is_said(tmp_path):
    loaded = load(tmp_path, f'[{ROW}, {{"instruction" "Q"}}, {ROW}]', "x.json")
    assert loaded.kept == 1
    assert "the rows after it cannot be read" in loaded.problems[0].problem


def test_a_long_file_of_lines_is_not_copied_into_a_list(tmp_path):
    from finetune.data.sources.json_rows import json_lines

    rows = json_lines((json.dumps({"text": "a"}) + "\n") * 3 + "broken")
    assert next(rows).values == {"text": "a"}
    assert [row.error for row in rows][-1].startswith("not JSON")

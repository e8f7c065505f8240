import gzip
import json

import pytest

from finetune.data.records import Text
from finetune.data.sources.loader import load_data
from finetune.errors import MalformedRow
from tests.finetune.data.sources.rows import A, U, write


def test_each_paragraph_of_a_text_file_is_a_row(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("one\ntwo\n\n\nthree\n")
    loaded = load_data(path)
    assert loaded.format == "text"
    assert loaded.records == [Text("one\ntwo", str(path), 1), Text("three", str(path), 2)]


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_no_carriage_return_of_a_text_file_is_trained_whatever_its_line_ends(tmp_path, end):
    path = tmp_path / "notes.txt"
    path.write_bytes(end.join(["Oats are cut in July.", "Rye is cut first.", "", "  ", "Hay is dry.", ""]).encode())
    records = load_data(path).records
    assert [record.text for record in records] == ["Oats are cut in July.\nRye is cut first.", "Hay is dry."]


def test_a_row_that_is_not_json_names_its_line(tmp_path):
    path = write(tmp_path, [{"text": "a"}, "{broken"])
    with pytest.raises(MalformedRow, match=r"line 2: not JSON.*data check"):
        load_data(path)


def test_a_list_in_json_names_the_line_of_the_row(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text('[\n {"instruction": "a",\n  "output": "b"},\n {"instruction": "a"}\n]')
    loaded = load_data(path, strict=False, format="alpaca")
    assert [(p.row, p.line) for p in loaded.problems] == [(2, 4)]
    path.write_text('[\n {"text": "a"},\n {"text": "b"')
    with pytest.raises(MalformedRow, match="line 3: not JSON"):
        load_data(path)


def test_one_list_in_a_jsonl_file_is_its_rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps([{"text": "a"}, {"text": "b"}]))
    assert [record.text for record in load_data(path).records] == ["a", "b"]


def test_a_unicode_line_separator_does_not_end_a_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a\u2028b"}\n', encoding="utf-8")
    assert load_data(path).records[0].text == "a\u2028b"


def test_gzip_csv_and_parquet_are_read_alike(tmp_path):
    import pyarrow
    import pyarrow.parquet

    row = {"instruction": "a, b", "output": "c\nd"}
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    (tmp_path / "x.csv").write_text('instruction,output\n"a, b","c\nd"\n')
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "x.parquet")
    for name in ("x.jsonl.gz", "x.csv", "x.parquet"):
        assert load_data(tmp_path / name).records[0].messages == (U("a, b"), A("c\nd")), name

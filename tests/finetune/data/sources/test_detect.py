import json

import pytest

from finetune.data.sources.loader import load_data
from finetune.errors import UnknownFormat
from tests.finetune.data.sources.rows import write


def test_evaluation_files_are_rejected_by_name(tmp_path):
    path = write(tmp_path, [{"question_id": 81, "category": "writing", "turns": ["a", "b"]}])
    with pytest.raises(UnknownFormat, match=r"MT-Bench questions.*nothing to train on.*file with answers"):
        load_data(path)


def test_unknown_fields_are_reported_with_the_known_formats(tmp_path):
    with pytest.raises(UnknownFormat, match=r"fields 'frage', 'antwort'.*alpaca \(instruction, input, output\)"):
        load_data(write(tmp_path, [{"frage": "a", "antwort": "b"}]))


def test_a_file_without_a_readable_row_says_what_its_first_line_holds(tmp_path):
    path = tmp_path / "notes.docx"
    path.write_text("hello\n")
    with pytest.raises(UnknownFormat, match="line 1: not JSON: Expecting value at column 1"):
        load_data(path, strict=False)


def test_rows_of_many_formats_are_counted_in_the_error(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"instruction": "a", "output": "b"}, {"text": "c"}, {"foo": 1}, {"prompt": "p", "completion": "c"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UnknownFormat, match=r"fits most of the first 4 rows .*1 alpaca.*1 of no known format"):
        load_data(path)

import pytest

from finetune.data.sources.loader import load_data
from finetune.errors import MalformedRow, SourceUnavailable
from quire import UsageError
from tests.finetune.data.sources.rows import A, U, write


def test_a_malformed_row_names_file_and_line(tmp_path):
    path = write(tmp_path, [{"instruction": "a", "output": "b"}, "", '{"instruction": 1, "output": "b"}'])
    with pytest.raises(MalformedRow, match=r"rows\.jsonl, line 3: `instruction` must be text, found int"):
        load_data(path)
    loaded = load_data(path, strict=False)
    assert [(p.row, p.line, p.kind) for p in loaded.problems] == [(2, 3, "malformed")]


def test_missing_files_and_formats_are_named(tmp_path):
    with pytest.raises(SourceUnavailable, match=r"there is no file.*data list"):
        load_data(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="choose one of alpaca"):
        load_data(write(tmp_path, [{"text": "a"}]), format="latin")


def test_preferences_become_chosen_answers_for_sft_and_both_labels_for_kto(tmp_path):
    path = write(tmp_path, [{"prompt": "Q", "chosen": "A", "rejected": "B"}])
    assert [r.messages for r in load_data(path, task="sft").records] == [(U("Q"), A("A"))]
    labels = load_data(path, task="label").records
    assert [(r.completion[0].content, r.label) for r in labels] == [("A", True), ("B", False)]

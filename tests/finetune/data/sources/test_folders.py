import gzip
import json

import pytest

from finetune.data.sources.fingerprint import fingerprint
from finetune.data.sources.loader import load_data
from finetune.errors import SourceUnavailable


def fill(folder, **files):
    for name, count in files.items():
        stem = name.replace("__", ".").replace("_SLASH_", "/")
        path = folder / stem
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps({"instruction": f"{stem} {n}", "output": "A"}) + "\n" for n in range(count))
        path.write_bytes(gzip.compress(text.encode()) if stem.endswith("gz") else text.encode())


@pytest.mark.parametrize("files", [
    {"train__jsonl": 3, "test__jsonl": 2, "validation__jsonl": 1}, {"cows-train__jsonl__gz": 3, "cows-dev__jsonl": 2},
    {"train-00000-of-00002__jsonl": 2, "train-00001-of-00002__jsonl": 1, "test-00000-of-00001__jsonl": 2},
    {"data_SLASH_train__jsonl": 3, "data_SLASH_test__jsonl": 2}, {"train_SLASH_a__jsonl": 3, "test_SLASH_b__jsonl": 2},
    {"metadata__json": 0, "train_SLASH_part-0__jsonl": 3, "validation_SLASH_part-0__jsonl": 1},
    {"cows__jsonl": 2, "dogs__jsonl": 1, "eval__jsonl": 4},
])  # fmt: skip
def test_a_folder_means_its_training_rows(tmp_path, files):
    fill(tmp_path, **files)
    loaded = load_data(tmp_path)
    assert loaded.rows == 3
    assert any("left out, as they belong to the split" in notice for notice in loaded.notices)


def test_another_split_of_a_folder_can_be_named(tmp_path):
    fill(tmp_path, train__jsonl=3, val__jsonl=2)
    assert load_data(tmp_path, split="validation").rows == 2
    with pytest.raises(SourceUnavailable, match="no file of the split test; it has train, validation"):
        load_data(tmp_path, split="test")


@pytest.mark.parametrize(
    "name", ["LICENSE.txt", "requirements.txt", "README.txt", "dataset_infos.json", "license-data.txt"]
)
def test_notes_beside_the_data_are_left_out_and_named(tmp_path, name):
    fill(tmp_path, train__jsonl=3)
    before = fingerprint(str(tmp_path))
    (tmp_path / name).write_text("{}" if name.endswith("json") else "Apache License\n\nVersion 2.0")
    loaded = load_data(tmp_path)
    assert (loaded.format, loaded.rows) == ("alpaca", 3)
    assert name in loaded.notices[0]
    assert fingerprint(str(tmp_path)) == before


def test_what_save_to_disk_writes_is_read(tmp_path):
    from datasets import Dataset, DatasetDict

    rows = [{"instruction": f"Q{n}", "output": "A"} for n in range(3)]
    Dataset.from_list(rows).save_to_disk(tmp_path / "one")
    DatasetDict({"train": Dataset.from_list(rows), "test": Dataset.from_list(rows[:1])}).save_to_disk(tmp_path / "two")
    for name, notices in (("one", 0), ("two", 1)):
        loaded = load_data(tmp_path / name)
        assert [record.messages[0].content for record in loaded.records] == ["Q0", "Q1", "Q2"]
        assert len(loaded.notices) == notices

"""The records of models exported to Ollama."""

import json
from pathlib import Path

import pytest

from finetune.export.ollama_tags import (
    TagRecord,
    find_tag,
    full_tag,
    read_records,
    record_path,
    same_tag,
    write_record,
)
from quire import UsageError


@pytest.mark.parametrize(
    ("given", "full"), [("mine", "mine:latest"), ("mine:v2", "mine:v2"), ("me/mine", "me/mine:latest")]
)
def test_tags_are_written_in_full(given: str, full: str) -> None:
    assert full_tag(given) == full


@pytest.mark.parametrize("given", ["", "a b", "../x:1", "a:b:c", "-x"])
def test_a_name_that_ollama_would_reject_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match="at most one ':'"):
        full_tag(given)


def test_a_record_comes_back_and_its_file_stays_in_the_folder(home: Path) -> None:
    record = TagRecord("me/mine:v1", "qwen", {"a.json": "00"}, "/runs/x", "Q4_K_M", {"passed": True})
    path = write_record(record)
    assert path == record_path("me/mine:v1") and path.parent == home / "models"
    assert json.loads(path.read_text())["tag"] == "me/mine:v1"
    (home / "models" / "broken%3Alatest.json").write_text("{")
    found = {r["tag"]: r for r in read_records()}
    assert found["me/mine:v1"]["quantization"] == "Q4_K_M"
    assert "cannot be read" in found["broken:latest"]["problem"]
    (home / "models" / "broken%3Alatest.json").write_text('{"tag": "broken:latest"}')
    assert "lacks base, run" in {r["tag"]: r for r in read_records()}["broken:latest"]["problem"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Lease-Helper", "lease-helper:latest", True), ("me/Model:Q4", "ME/model:q4", True),
        ("registry.ollama.ai/library/tiny", "Tiny", True), ("tiny", "tiny:q8", False), ("me/tiny", "tiny", False),
    ],
)  # fmt: skip
def test_tags_are_compared_as_ollama_does(one: str, other: str, same: bool) -> None:
    assert same_tag(one, other) is same
    assert find_tag(one, ["a", other]) == (other if same else "")


def test_a_record_is_found_in_another_spelling(home: Path) -> None:
    path = write_record(TagRecord("Lease-Helper:latest", "b", {}, "r", "F16", {}))
    assert record_path("lease-helper") == path

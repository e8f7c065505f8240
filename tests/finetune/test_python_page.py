"""The example of training in docs/python.md, run as it is written but for a tiny base model."""

import json
from pathlib import Path

import pytest

from finetune.runs.manifest import read_manifest
from tests.test_python_page import EXAMPLES


def test_the_example_of_training_ends_in_a_gguf_file_that_passed_its_check(
    home: Path, models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    question = [{"role": "user", "content": "What does the cow say?"}]
    good, bad = ([{"role": "assistant", "content": text}] for text in ("The cow says moo.", "I do not know."))
    rows = json.dumps({"messages": question + good}) + "\n"
    pairs = json.dumps({"prompt": question, "chosen": good, "rejected": bad}) + "\n"
    (tmp_path / "rows.jsonl").write_text(rows * 8, encoding="utf-8")
    (tmp_path / "pairs.jsonl").write_text(pairs * 8, encoding="utf-8")
    exec(EXAMPLES[-1].replace("Qwen/Qwen2.5-0.5B-Instruct", models["qwen2"]), {})
    assert (tmp_path / "my-model.gguf").is_file()
    assert read_manifest("my-dpo").parent == str(home / "runs" / "my-sft")
    assert read_manifest("my-dpo").config["learning_rate"] == 5e-6

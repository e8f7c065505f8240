"""The examples of docs/python.md, run as they are written, in their order."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.documents import write_facts

TEXT = (Path(__file__).parent.parent / "docs" / "python.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUIRE_HOME", str(tmp_path / "home"))
    return tmp_path


def test_every_example_is_run_by_a_test_below() -> None:
    assert len(EXAMPLES) == 3


def test_the_examples_of_searching_and_asking_find_the_fact(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("QUIRE_STORE", "WEAVIATE_URL", "QUIRE_EMBEDDER", "QUIRE_LIBRARY"):
        monkeypatch.delenv(name, raising=False)
    files = write_facts(folder / "pdfs")
    exec(EXAMPLES[0], {})
    found = capsys.readouterr().out
    assert f"{len(files)} added; []" in found
    assert "whales.pdf, page" in found
    exec(EXAMPLES[1], {})
    found = capsys.readouterr().out
    assert "180 kilograms" in found
    assert "whales.pdf" in found


def test_the_example_of_training_ends_in_a_gguf_file_that_passed_its_check(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from finetune.demo.tiny import make_tiny

    tiny = make_tiny(folder / "tiny", "qwen2")
    question = [{"role": "user", "content": "What does the cow say?"}]
    good, bad = ([{"role": "assistant", "content": text}] for text in ("The cow says moo.", "I do not know."))
    rows = json.dumps({"messages": question + good}) + "\n"
    pairs = json.dumps({"prompt": question, "chosen": good, "rejected": bad}) + "\n"
    (folder / "rows.jsonl").write_text(rows * 8, encoding="utf-8")
    (folder / "pairs.jsonl").write_text(pairs * 8, encoding="utf-8")
    exec(EXAMPLES[2].replace("Qwen/Qwen2.5-0.5B-Instruct", str(tiny)), {})
    assert (folder / "my-model.gguf").is_file()
    assert "my-model.gguf" in capsys.readouterr().out

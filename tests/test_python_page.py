"""The examples of docs/python.md run as they are written; the one of training is in tests/finetune."""

from __future__ import annotations

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


def test_every_example_is_run_by_a_test() -> None:
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

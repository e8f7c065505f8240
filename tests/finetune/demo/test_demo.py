"""In the demonstration both tiny models learn every animal and the preference."""

import json
from pathlib import Path

import pytest


@pytest.mark.slow
def test_both_tiny_models_learn_their_task_and_the_preference(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from finetune.demo.__main__ import main

    assert main() == 0
    results = json.loads((home / "demo.json").read_text())
    assert [result["kind"] for result in results] == ["qwen2", "phi"]
    for result in results:
        assert result["after_sft"] == "The cow says moo."
        assert result["after_dpo"] == "The cow says moo, moo!"
        assert result["known"] == result["asked"] == 12
        for run in result["runs"]:
            assert (Path(run) / "curves.png").is_file() and (Path(run) / "report.json").is_file()


def test_demo_rows_have_the_formats_of_real_sets(tmp_path: Path) -> None:
    from finetune.data.sources.loader import load_data
    from finetune.demo.__main__ import write_data

    alpaca, pairs = write_data(tmp_path)
    first, second = load_data(alpaca), load_data(pairs)
    assert (first.format, first.kept) == ("alpaca", 24)
    assert second.kept == 12 and not second.problems

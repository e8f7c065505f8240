"""`score`, `compare`, `generate` and `chat` use finished runs."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.cli import main
from finetune.export.held_out import held_out_rows
from finetune.runs.manifest import read_manifest
from finetune.train.metrics import read_metrics
from tests.finetune.cli.conftest import FLAGS


def test_generate_prints_only_the_answer(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "taught", "What does the cow say?", "--max-new-tokens", "20", "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "The cow says moo.\n"
    assert "finish reason: stop" in captured.err


def test_a_truncated_answer_has_the_finish_reason_length(world: Any, printed: Callable[[], Any]) -> None:
    assert (
        main(["generate", "taught", "What does the cow say?", "--max-new-tokens", "2", "--device", "cpu", "--json"])
        == 0
    )
    assert printed()["finish_reason"] == "length"


def test_chat_remembers_and_ends_with_the_input(
    world: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("What does the dog say?\nWhat does the cow say?\n"))
    assert main(["chat", "taught", "--max-new-tokens", "12", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "The dog says woof." and len(lines) >= 2


def test_a_dpo_run_is_scored_and_compared_with_its_parents(world: Any, printed: Callable[[], Any]) -> None:
    assert main(["dpo", world["pairs"], "--parent", "taught", "--recipe", "phi-2-dpo", "--name", "liked", "--max-steps", "8",
                 "--batch-size", "6", "--learning-rate", "3e-4", "--log-every", "1", "--eval-share", "0",
                 "--no-precompute-reference", "--json", *FLAGS]) == 0  # fmt: skip
    assert printed()["steps"] == 8
    assert main(["score", "liked", world["pairs"], "--json", "--device", "cpu"]) == 0
    scores = printed()
    last = [line for line in read_metrics(world["home"] / "runs" / "liked") if "rewards/margins" in line][-1]
    assert scores["pairs"] == 6 and scores["accuracy"] == 1.0
    assert scores["margin"] >= last["rewards/margins"] - 1e-3  # one step further than what was logged last
    assert main(["score", "taught", world["pairs"], "--json", "--device", "cpu"]) == 0
    assert printed()["accuracy"] == 1.0  # SFT against its base: the right answers gained
    assert main(["compare", "liked", "--prompt", "What does the cow say?", "--max-new-tokens", "12", "--device", "cpu",
                 "--json"]) == 0  # fmt: skip
    found = printed()
    assert found["models"] == ["base", "taught", "liked"]
    answers = found["prompts"][0]["answers"]
    assert answers["taught"]["text"] == "The cow says moo." != answers["base"]["text"]
    page = (world["home"] / "runs" / "liked" / "compare.html").read_text()
    assert "The cow says moo." in page and "<script" not in page


def test_a_run_is_used_from_another_folder_than_it_was_trained_in(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, near = Path(world["model"]), Path(world["model"]).parent
    shutil.copy(world["rows"], near / "rows.json")
    monkeypatch.chdir(near)
    assert main(["sft", "rows.json", "--model", model.name, "--name", "near", "--max-steps", "1", *FLAGS]) == 0
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "near", "hi", "--max-new-tokens", "1", "--device", "cpu"]) == 0
    assert held_out_rows("near", read_manifest("near"))

"""`--dry-run` and `--print-config` tell what would train, and train nothing."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.cli import main
from finetune.runs.manifest import read_manifest
from finetune.train.load import load_base
from tests.finetune.cli.conftest import FLAGS

SMALL = ["--batch-size", "2", "--max-steps", "3", *FLAGS]


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the loading of weights an error."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("weights were loaded")

    for name, module in list(sys.modules.items()):
        if name.startswith("finetune") and getattr(module, "load_base", None) is load_base:
            monkeypatch.setattr(module, "load_base", refuse)


def test_a_dry_run_says_what_the_run_then_does(
    world: Any, printed: Callable[[], Any], capsys: pytest.CaptureFixture[str], no_weights: None
) -> None:
    command = ["sft", world["rows"], "--model", world["model"], "--name", "tried", "--epochs", "3", "--batch-size", "2",
               "--eval-share", "0.3", *FLAGS]  # fmt: skip
    before = {path.name for path in (world["home"] / "runs").iterdir()}
    assert main([*command, "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "template phi-2, end token <|endoftext|>" in text
    assert "6 steps of 2 rows" in text  # four rows to train on, two a step, three epochs
    assert "Output:⟦ The " in text and "⟦<|endoftext|>⟧" in text
    assert "GB at the peak" in text
    assert main([*command, "--dry-run", "--json"]) == 0
    found = printed()["runs"][0]
    assert (found["steps"], found["rows"]["rows"], found["held_out_rows"]["rows"]) == (6, 4, 2)
    assert found["memory_gb"] > 0 and found["fits"] is True
    assert {path.name for path in (world["home"] / "runs").iterdir()} == before


def test_the_steps_of_a_dry_run_are_those_of_the_run(world: Any, printed: Callable[[], Any]) -> None:
    command = ["sft", world["rows"], "--model", world["model"], "--epochs", "2", "--batch-size", "4", "--packing", "--json",
               *FLAGS, "--max-length", "64", "--accumulation", "2"]  # fmt: skip
    assert main([*command, "--name", "counted", "--dry-run"]) == 0
    expected = printed()["runs"][0]
    assert expected["sequences"] < expected["rows"]["rows"]
    assert main([*command, "--name", "counted"]) == 0
    assert printed()["steps"] == expected["steps"]


def test_a_dry_run_of_both_stages_needs_no_trained_parent(
    world: Any, printed: Callable[[], Any], no_weights: None
) -> None:
    command = ["run", "--sft-data", world["rows"], "--dpo-data", world["pairs"], "--model", world["model"], "--name", "pair",
               "--set", "sft.method=lora", "--set", "sft.rank=4", "--dry-run", "--json"]  # fmt: skip
    assert main(command) == 0
    first, second = printed()["runs"]
    assert (first["run"], second["run"]) == ("pair-sft", "pair-dpo")
    assert (second["settings"]["rank"], second["settings"]["method"], second["model"]) == (4, "lora", first["model"])
    assert [view["title"] for view in second["row"]] == ["the first row, chosen", "the first row, rejected"]
    assert all(not segment["trained"] for segment in second["row"][0]["segments"][:1])


def test_a_dry_run_of_a_sweep_lists_every_run(world: Any, printed: Callable[[], Any], no_weights: None) -> None:
    command = ["sweep", world["pairs"], "--parent", "taught", "--vary", "beta=0.05,0.5", "--name", "tried-betas",
               "--eval-share", "0.3", "--dry-run", "--json", *SMALL]  # fmt: skip
    assert main(command) == 0
    assert [run["settings"]["beta"] for run in printed()["runs"]] == [0.05, 0.5]


def test_a_dry_run_fails_where_the_run_would(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["sft", world["rows"], "--model", world["model"], "--dry-run", *SMALL]
    assert main([*command, "--name", "taught"]) == 1
    assert "the run taught is finished" in capsys.readouterr().err
    assert main([*command, "--max-length", "8"]) == 1
    assert "no row is left to train on" in capsys.readouterr().err
    assert main(["sft", str(tmp_path / "none.jsonl"), "--model", world["model"], "--dry-run"]) == 1
    capsys.readouterr()
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    assert main(command) == 2
    assert "DeepSpeed is asked for" in capsys.readouterr().err


def test_printed_settings_train_the_same_as_the_flags(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sft", world["rows"], "--model", world["model"], "--lr", "3e-4", *SMALL]
    assert main([*command, "--print-config"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# template: phi-2, decided by the model\n")
    (tmp_path / "mine.toml").write_text(text)
    assert main([*command, "--name", "by-flags", "--json"]) == 0
    assert main(["sft", "--recipe", str(tmp_path / "mine.toml"), "--name", "by-recipe", "--json"]) == 0
    one, two = (read_manifest(name).config for name in ("by-flags", "by-recipe"))
    assert {k: v for k, v in one.items() if k != "name"} == {k: v for k, v in two.items() if k != "name"}
    assert one["learning_rate"] == 3e-4
    assert json.loads((world["home"] / "runs" / "by-recipe" / "report.json").read_text())["steps"] == 3

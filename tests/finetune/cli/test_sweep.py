"""`sweep` trains combinations, ranks them and resumes."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from finetune.cli import main
from finetune.runs.manifest import hash_weights, read_manifest
from finetune.train.metrics import read_metrics
from tests.finetune.cli.conftest import FLAGS


def test_a_sweep_ranks_by_held_out_rows_and_resumes(
    world: Any, printed: Callable[[], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sweep", world["pairs"], "--parent", "taught", "--vary", "beta=0.05,0.5", "--vary", "loss=sigmoid,ipo",
               "--name", "betas", "--eval-share", "0.3", "--max-steps", "2", "--batch-size", "4", "--learning-rate", "1e-4",
               "--log-every", "1", "--eval-every", "1", "--json", *FLAGS]  # fmt: skip
    assert main(command) == 0
    table = printed()
    assert len(table["runs"]) == 4
    assert [row["rank"] for row in table["runs"]] == [1, 2, 3, 4]
    assert table["best"] == table["runs"][0]["run"]
    assert all(row["kl"] is not None and row["accuracy"] is not None for row in table["runs"])
    folder = world["home"] / "runs" / "betas"
    assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert "| rank | beta | loss |" in (folder / "sweep.md").read_text()
    times = {
        row["run"]: (world["home"] / "runs" / row["run"] / "manifest.json").stat().st_mtime_ns for row in table["runs"]
    }
    # the reference was scored once for all four
    assert len(list((world["home"] / "cache" / "reference").glob("*.npz"))) == 2  # training and held-out rows
    assert main(command) == 0
    assert printed() == table
    for run, when in times.items():
        assert (world["home"] / "runs" / run / "manifest.json").stat().st_mtime_ns == when
    command[command.index("--max-steps") + 1] = "3"  # runs of two steps are no part of a sweep of three
    assert main(command) == 2
    assert "was started with other settings: max_steps was 2, is 3" in capsys.readouterr().err


def test_a_sweep_without_held_out_rows_is_refused(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", world["pairs"], "--parent", "taught", "--vary", "beta=0.1", "--name", "x", *FLAGS]) == 2
    assert "--eval-share" in capsys.readouterr().err


def test_checkpoints_of_one_run_are_ranked_as_parents(world: Any, printed: Callable[[], Any]) -> None:
    assert main(["sft", world["rows"], "--model", world["model"], "--name", "long", "--max-steps", "4", "--save-every", "2",
                 "--eval-share", "0.3", "--learning-rate", "1e-3", "--batch-size", "4", "--json", *FLAGS]) == 0  # fmt: skip
    printed()
    command = ["sweep", world["pairs"], "--vary", "parent=long@2,long@4", "--name", "steps", "--eval-share", "0.3",
               "--max-steps", "2", "--batch-size", "4", "--log-every", "1", "--json", *FLAGS]  # fmt: skip
    assert main(command) == 0
    table = printed()
    assert sorted(row["parent"] for row in table["runs"]) == ["long@2", "long@4"]
    folders = world["home"] / "runs"
    long = {line["step"]: line["eval_loss"] for line in read_metrics(folders / "long") if "eval_loss" in line}
    hashes = set()
    for row in table["runs"]:
        assert row["sft_eval_loss"] == long[int(row["parent"].split("@")[1])]
        manifest = read_manifest(row["run"])
        assert manifest.parent == str(folders / "long" / "checkpoints" / f"checkpoint-{row['parent'].split('@')[1]}")
        assert manifest.parent_sha256 == hash_weights(manifest.parent)
        hashes.add(manifest.parent_sha256)
        first = next(line["loss"] for line in read_metrics(folders / row["run"]) if "loss" in line)
        assert first == pytest.approx(math.log(2), abs=1e-6)  # the checkpoint itself is the reference
        assert main(["score", row["run"], world["pairs"], "--json", "--device", "cpu"]) == 0
        assert printed()["pairs"] == 6
    assert len(hashes) == 2
    assert main(["generate", "long@2", "hi", "--max-new-tokens", "2", "--device", "cpu", "--json"]) == 0
    assert main(["compare", table["best"], "--prompt", "hi", "--max-new-tokens", "2", "--device", "cpu", "--json"]) == 0

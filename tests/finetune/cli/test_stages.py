"""`sft`, `dpo` and `run` train stages."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.cli import main
from finetune.train.metrics import read_metrics
from tests.finetune.cli.conftest import FLAGS


def test_run_goes_from_data_to_dpo_in_one_command(world: Any, printed: Callable[[], Any], tmp_path: Path) -> None:
    (tmp_path / "sft.toml").write_text('method = "lora"\ndevice = "cpu"\nmax_steps = 2\noptimizer = "adamw_torch"\n')
    (tmp_path / "dpo.toml").write_text('method = "lora"\ndevice = "cpu"\nmax_steps = 2\nlearning_rate = 1e-5\n')
    assert main(["run", "--sft-data", world["rows"], "--dpo-data", world["pairs"], "--model", world["model"], "--name", "both",
                 "--sft-recipe", str(tmp_path / "sft.toml"), "--dpo-recipe", str(tmp_path / "dpo.toml"),
                 "--set", "dpo.beta=0.3", "--json"]) == 0  # fmt: skip
    runs = [row["run"] for row in printed()["runs"]]
    assert runs == ["both-sft", "both-dpo"]
    text = (world["home"] / "runs" / "both-dpo" / "config.toml").read_text()
    assert "beta = 0.3" in text


def test_a_wrong_path_does_not_use_up_the_name(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sft", world["rows"], "--model", str(world["home"] / "none"), "--name", "mistyped"]) == 1
    assert not (world["home"] / "runs" / "mistyped").exists()


def test_a_short_run_shows_the_loss_of_its_checkpoint_and_its_last_one(
    world: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sft", world["rows"], "--model", world["model"], "--name", "short", "--max-steps", "5", "--json",
               "--save-every", "3", *FLAGS]  # fmt: skip
    assert main([*command, "--learning-rate", "1e-2", "--batch-size", "6"]) == 0
    caught = capsys.readouterr()
    assert f"{world['rows']}: alpaca, 6 of 6 rows" in caught.err  # what it was taken for
    loss = json.loads(caught.out)["loss"]
    assert loss["last"] < loss["first"]
    steps = [line["step"] for line in read_metrics(world["home"] / "runs" / "short") if "loss" in line]
    assert steps == [1, 3, 5]  # log_every is 10: the first, the checkpoint's and the last


def test_a_stopped_run_says_what_it_continues_from(home: Path) -> None:
    from finetune.cli.stages import _describe_stop

    assert "stopped before the first checkpoint" in _describe_stop("a", 0.0)
    checkpoint = home / "runs" / "a" / "checkpoints" / "checkpoint-4"
    checkpoint.mkdir(parents=True)
    assert "stopped before the first checkpoint" in _describe_stop("a", 0.0)  # not complete
    (checkpoint / "trainer_state.json").write_text("{}")
    assert _describe_stop("a", 0.0).endswith("with --resume continues from checkpoint-4")
    assert _describe_stop("", 0.0).endswith("with --resume --name a continues from checkpoint-4")
    assert "stopped before the first checkpoint" in _describe_stop("", 1e12)

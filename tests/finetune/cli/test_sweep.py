"""`sweep` trains combinations, ranks them and resumes."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune.cli import main
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

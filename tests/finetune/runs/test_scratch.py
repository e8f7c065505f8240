"""Temporary folders are removed after their command; those of killed commands by the next one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from finetune.runs.scratch import scratch_folder


def test_a_folder_is_there_for_the_time_of_the_block(home: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch_folder() as folder:
        (folder / "big").write_text("x")
        assert folder.parent == home
        raise ZeroDivisionError
    assert list(home.iterdir()) == []


def test_what_a_killed_command_left_is_removed_by_the_next(home: Path) -> None:
    code = "import os\nfrom finetune.runs.scratch import scratch_folder\nwith scratch_folder(): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list(home.iterdir())) == 1
    with scratch_folder() as folder:
        assert list(home.iterdir()) == [folder]


def test_what_a_running_command_or_another_machine_needs_is_left(home: Path) -> None:
    kept = [
        home / f"scratch-{socket.gethostname()}-{os.getpid()}-abc",
        home / "scratch-elsewhere-1-abc",
        home / "scratch-notes",
    ]
    for folder in kept:
        folder.mkdir(parents=True)
    with scratch_folder():
        pass
    assert all(folder.is_dir() for folder in kept)

"""The lock of one process on a run folder, and the settings that a resumed run must keep.

A run that fails before anything was trained leaves no folder.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from finetune.config import TrainConfig
from finetune.errors import RunExists
from finetune.recipes import read_recipe, to_toml
from finetune.runs.manifest import has_training, open_run, runs_folder
from quire import UsageError

LOCK = ".lock"
# settings that may change when a run is resumed, because no weight depends on them
CHANGEABLE = frozenset(
    {"log_every", "keep_checkpoints", "prompts", "sample_tokens", "trackers", "price_per_hour", "watts"}
)


@contextmanager
def claim(config: TrainConfig, *, resume: bool) -> Iterator[Path]:
    """Claim the folder of a run for the block, write `config.toml` and yield the folder.

    Raises RunExists for a run that is finished, is being trained by another process, or was started without `resume`;
    UsageError when `resume` comes with other settings than the run was started with. If the block fails before
    anything was trained, the folder is removed.
    """
    folder = open_run(config.name, resume=resume)
    with (folder / LOCK).open("w") as held:
        _lock(held, config.name)
        open_run(config.name, resume=resume)  # again: the process that held the lock may have finished the run
        if has_training(folder):
            check_same_settings(config, folder)
        (folder / "config.toml").write_text(to_toml(config.to_dict()), encoding="utf-8")
        try:
            yield folder
        except BaseException:
            if not has_training(folder):
                _remove(folder)
            raise
        (folder / LOCK).unlink(missing_ok=True)


def claimed_folder(config: TrainConfig) -> Path:
    """Return the folder that the first of several processes has claimed for all of them."""
    return runs_folder() / config.name


def _remove(folder: Path) -> None:
    """Remove what a failed start wrote, and the folder if nothing else is in it."""
    for name in ("config.toml", "inputs.json", "samples.jsonl", LOCK):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        folder.rmdir()


def _lock(held: IO[str], name: str) -> None:
    if sys.platform == "win32":  # it has no advisory locks, and the training libraries do not support it
        return
    import fcntl

    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        raise RunExists(
            f"the run {name} is being trained by another process", "wait for it, or choose another --name"
        ) from exc
    held.write(str(os.getpid()))
    held.flush()


def check_same_settings(config: TrainConfig, folder: Path) -> None:
    """Raise UsageError for completed settings that differ from those that a run was started with."""
    path = folder / "config.toml"
    before = read_recipe(str(path)) if path.is_file() else {}
    now = config.to_dict()
    changed = [
        f"{key} was {before[key]!r}, is {now[key]!r}"
        for key in now
        if key in before and before[key] != now[key] and key not in CHANGEABLE
    ]
    if changed:
        raise UsageError(
            f"the run {config.name} was started with other settings: {'; '.join(changed)}",
            "use those settings, or choose another --name",
        )

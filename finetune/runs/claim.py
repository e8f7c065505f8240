"""The claim of one process on a run's folder: no second one trains there, a resumed run keeps its settings, and a start that came to nothing leaves no folder."""

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
from finetune.runs.manifest import open_run, runs_folder, trained_on
from quire import UsageError

LOCK = ".lock"
# what a resumed run may be told anew: none of these changes a weight
FREE = frozenset({"log_every", "keep_checkpoints", "prompts", "sample_tokens", "trackers", "price_per_hour", "watts"})


@contextmanager
def claim(config: TrainConfig, *, resume: bool) -> Iterator[Path]:
    """Hold the folder of a run that is about to be trained, with its settings written down.

    Raises RunExists for a finished run, one that another process trains, or an unfinished one that `resume` does not
    ask for; UsageError when `resume` comes with other settings than the checkpoints were made with. A folder in which
    nothing was trained yet belongs to whoever comes next, so a mistyped path costs no name.
    """
    folder = open_run(config.name, resume=resume)
    with (folder / LOCK).open("w") as held:
        _lock(held, config.name)
        open_run(config.name, resume=resume)  # again: the holder before us may have finished meanwhile
        if trained_on(folder):
            same_settings(config, folder)
        (folder / "config.toml").write_text(to_toml(config.to_dict()), encoding="utf-8")
        try:
            yield folder
        except BaseException:
            if not trained_on(folder):
                _remove(folder)
            raise
        (folder / LOCK).unlink(missing_ok=True)


def claimed(config: TrainConfig) -> Path:
    """Give the folder that the first of several processes claims for all of them."""
    return runs_folder() / config.name


def _remove(folder: Path) -> None:
    """Take away what a start left behind; what someone else put there stays."""
    for name in ("config.toml", "samples.jsonl", LOCK):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        folder.rmdir()


def _lock(held: IO[str], name: str) -> None:
    if sys.platform == "win32":  # no advisory locks there; training on Windows is not supported by bitsandbytes' peers
        return
    import fcntl

    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        raise RunExists(
            f"the run {name} is being trained by another process", "let it end, or choose another --name"
        ) from exc
    held.write(str(os.getpid()))
    held.flush()


def same_settings(config: TrainConfig, folder: Path) -> None:
    """Refuse settings, completed, other than a run was started with: resumed or taken for done, it would equal no run at all."""
    path = folder / "config.toml"
    before = read_recipe(str(path)) if path.is_file() else {}
    now = config.to_dict()
    other = [
        f"{key} was {before[key]!r}, is {now[key]!r}"
        for key in now
        if key in before and before[key] != now[key] and key not in FREE
    ]
    if other:
        raise UsageError(
            f"the run {config.name} was started with other settings: {'; '.join(other)}",
            "give those it was started with, or choose another --name",
        )

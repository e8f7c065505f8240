"""One process trains in a run folder, with the settings that the run was started with."""

from pathlib import Path

import pytest

from finetune.config import TrainConfig, build
from finetune.errors import RunExists
from finetune.runs.claim import LOCK, claim
from finetune.runs.manifest import MANIFEST_FILE
from quire import UsageError


def settings(**values: object) -> TrainConfig:
    return build({"model": "m", "name": "one", "data": ["rows.jsonl"]}, values)


def begun(home: Path, **values: object) -> Path:
    """A run of which a checkpoint is there and no manifest."""
    with pytest.raises(KeyboardInterrupt), claim(settings(**values), resume=False) as folder:
        (folder / "checkpoints" / "checkpoint-5").mkdir(parents=True)
        raise KeyboardInterrupt
    return folder


def test_a_run_that_failed_before_training_leaves_no_folder(home: Path) -> None:
    for wrong in (UsageError("no such model"), KeyboardInterrupt()):
        with pytest.raises(type(wrong)), claim(settings(), resume=False) as folder:
            raise wrong
        assert not folder.exists()
    with claim(settings(), resume=False) as folder:  # the name is free
        assert (folder / "config.toml").is_file()
    assert not (folder / LOCK).exists()


def test_files_of_others_in_the_folder_stay(home: Path) -> None:
    (home / "runs" / "one").mkdir(parents=True)
    (home / "runs" / "one" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError), claim(settings(), resume=False):
        raise UsageError("no such model")
    assert [path.name for path in (home / "runs" / "one").iterdir()] == ["notes.txt"]


def test_a_run_with_a_checkpoint_stays_and_is_resumed(home: Path) -> None:
    folder = begun(home)
    assert (folder / "checkpoints" / "checkpoint-5").is_dir()
    with pytest.raises(RunExists, match="add --resume"), claim(settings(), resume=False):
        pass
    with claim(settings(), resume=True) as again:
        assert again == folder


def test_a_second_process_is_refused_while_the_first_trains(home: Path) -> None:
    with (
        claim(settings(), resume=False),
        pytest.raises(RunExists, match="is being trained by another process"),
        claim(settings(), resume=True),
    ):
        pass
    with claim(settings(), resume=True):  # the first one let go
        pass


def test_a_run_that_finished_meanwhile_is_not_trained_again(home: Path) -> None:
    with claim(settings(), resume=False) as folder:
        (folder / MANIFEST_FILE).write_text("{}")
    with pytest.raises(RunExists, match="is finished"), claim(settings(), resume=True):
        pass


def test_resuming_with_other_settings_names_them_and_those_that_change_nothing_may_differ(home: Path) -> None:
    begun(home)
    with (
        pytest.raises(UsageError, match=r"data was .*; learning_rate was 0.0002, is 0.5"),
        claim(settings(learning_rate=0.5, data=["other.jsonl"]), resume=True),
    ):
        pass
    with claim(settings(log_every=1, watts=300.0, prompts=["hi"]), resume=True):
        pass

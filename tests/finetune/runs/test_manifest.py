"""A run without a manifest is unfinished and refused as an input; a finished one is never overwritten."""

from pathlib import Path

import pytest

from finetune.errors import NoSuchRun, RunError, RunExists, UnfinishedRun
from finetune.runs.manifest import (
    MANIFEST_FILE,
    RunManifest,
    find_run,
    open_run,
    read_manifest,
    run_name,
    texts_of,
    weights_of,
    write_manifest,
)


def manifest() -> RunManifest:
    return RunManifest("sft", "base", "lora", "chatml", ["quire"], {"rank": 4}, {"a": "b"}, {"torch": "2"})


def test_a_manifest_comes_back_equal(home: Path) -> None:
    folder = open_run("one", resume=False)
    written = manifest()
    write_manifest(folder, written)
    assert read_manifest("one") == written == read_manifest(folder)
    assert [p.name for p in folder.iterdir()] == [MANIFEST_FILE]  # nothing is left of the writing


def test_an_unfinished_run_is_refused_as_an_input(home: Path) -> None:
    folder = open_run("one", resume=False)
    (folder / "metrics.jsonl").write_text("{}")
    with pytest.raises(UnfinishedRun, match="--resume"):
        read_manifest("one")


def test_a_missing_run_is_reported_with_the_existing_ones(home: Path) -> None:
    open_run("other", resume=False)
    with pytest.raises(NoSuchRun, match="the runs are other"):
        find_run("one")


def test_a_checkpoint_of_a_finished_run_is_found_by_step_and_by_path(home: Path) -> None:
    folder = open_run("one", resume=False)
    for step in (10, 20):
        (folder / "checkpoints" / f"checkpoint-{step}").mkdir(parents=True)
    with pytest.raises(UnfinishedRun, match="the run one did not finish"):
        read_manifest("one@20")
    write_manifest(folder, manifest())
    checkpoint = folder / "checkpoints" / "checkpoint-20"
    assert find_run("one@20") == find_run(checkpoint) == find_run(f"{folder}@20") == checkpoint
    assert (run_name(checkpoint), run_name(folder)) == ("one@20", "one")
    assert read_manifest("one@20").base == "base"
    assert (weights_of("one@20"), weights_of("one")) == (checkpoint, folder / "adapter")
    assert texts_of("one@20") == texts_of("one") == folder / "adapter"
    with pytest.raises(NoSuchRun, match=r"(?s)has no checkpoint of step 15.*it has one@10, one@20"):
        find_run("one@15")


def test_a_finished_run_is_not_overwritten(home: Path) -> None:
    write_manifest(open_run("one", resume=False), manifest())
    with pytest.raises(RunExists, match="choose another --name"):
        open_run("one", resume=True)


def test_an_unfinished_run_is_continued_only_when_asked(home: Path) -> None:
    (open_run("one", resume=False) / "metrics.jsonl").write_text("")
    with pytest.raises(RunExists, match="add --resume"):
        open_run("one", resume=False)
    assert open_run("one", resume=True).name == "one"


def test_a_broken_manifest_is_named(home: Path) -> None:
    (open_run("one", resume=False) / MANIFEST_FILE).write_text("{")
    with pytest.raises(RunError, match="train the run again"):
        read_manifest("one")

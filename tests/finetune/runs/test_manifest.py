"""A run without a manifest is unfinished and refused as an input; a finished one is never overwritten."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    trained_dtype,
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


@pytest.mark.parametrize(
    ("dtype", "config", "hardware", "expected"),
    [
        ("float16", {}, "NVIDIA T4", "float16"),  # what was computed in comes before any guess from the GPU's name
        ("bfloat16", {"device": "cpu"}, "x86_64", "bfloat16"),
        ("float16", {"dtype": "auto"}, "AMD Instinct MI300X", "float16"),
        ("", {"dtype": "fp16"}, "NVIDIA A100", "float16"),  # of a run before `dtype` was recorded
        ("", {"device": "cpu"}, "NVIDIA A100", "float32"),
        ("", {}, "NVIDIA A100", "bfloat16"),
        ("", {}, "x86_64", "float32"),
    ],
)
def test_the_type_of_training_is_the_recorded_one_and_guessed_only_without(
    dtype: str, config: dict[str, Any], hardware: str, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "report.json").write_text(json.dumps({"hardware": {"device": hardware}}))
    assert trained_dtype(tmp_path, replace(manifest(), dtype=dtype, config=config)) == expected


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

"""A resumed run continues with the same content, wherever its files are."""

from pathlib import Path

import pytest

from finetune.config import TrainConfig, build
from finetune.data.sources.fingerprint import fingerprints
from finetune.runs.inputs import keep_inputs
from finetune.runs.manifest import RunManifest, write_manifest
from quire import UsageError


@pytest.fixture
def started(tmp_path: Path) -> tuple[TrainConfig, Path]:
    """Settings with two data files and a base, and a run folder with a checkpoint."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"weights")
    for name in ("rows", "held"):
        (tmp_path / f"{name}.jsonl").write_text('{"text": "a"}\n')
    config = build({"model": str(base), "data": [str(tmp_path / "rows.jsonl")], "eval_data": [str(tmp_path / "held.jsonl")],
                    "name": "r", "eval_share": 0.0})  # fmt: skip
    run = tmp_path / "run"
    (run / "checkpoints" / "checkpoint-2").mkdir(parents=True)
    keep(config, run)
    return config, run


def keep(config: TrainConfig, run: Path) -> None:
    keep_inputs(config, run, fingerprints([*config.data, *config.eval_data]))


@pytest.mark.parametrize("name", ["rows.jsonl", "held.jsonl", "base/model.safetensors", "base/config.json"])
def test_other_content_is_refused_by_name_and_the_first_content_accepted_again(
    started: tuple[TrainConfig, Path], tmp_path: Path, name: str
) -> None:
    config, run = started
    before = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(b'{"text": "b"}\n')
    changed = "base" if name.startswith("base") else name
    with pytest.raises(UsageError, match=rf"started with other content of [^,]*{changed}$|started with.*{changed} \("):
        keep(config, run)
    (tmp_path / name).write_bytes(before)
    keep(config, run)


def test_another_parent_of_the_same_name_is_refused(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    write_manifest(parent, RunManifest("sft", "base", "lora", "chatml", ["quire"], {}, {}, {}))
    weights = parent / "adapter" / "adapter_model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    run = tmp_path / "run"
    (run / "checkpoints" / "checkpoint-2").mkdir(parents=True)
    config = build({"stage": "dpo", "parent": str(parent), "name": "r"})
    keep(config, run)
    keep(config, run)
    weights.write_bytes(b"trained again")
    with pytest.raises(UsageError, match=r"started with other content of .*/parent \("):
        keep(config, run)


def test_a_run_that_trained_nothing_may_start_with_other_content(
    started: tuple[TrainConfig, Path], tmp_path: Path
) -> None:
    config, run = started
    (run / "checkpoints" / "checkpoint-2").rmdir()
    (tmp_path / "rows.jsonl").write_text('{"text": "b"}\n')
    keep(config, run)

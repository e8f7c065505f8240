"""Settings are completed by the parent run, the device and the runs folder."""

from pathlib import Path

import pytest

from finetune.config import build
from finetune.train.complete import complete
from quire import UsageError

CPU = {"model": "owner/Some-Model", "device": "cpu"}


def test_packing_uses_one_sequence_per_pass_without_flash_attention(home: Path) -> None:
    done = complete(build(CPU, {"packing": True, "batch_size": 4, "accumulation": 2}))
    assert (done.batch_size, done.accumulation) == (1, 8)


def test_paged_optimizers_become_adamw_on_a_cpu(home: Path) -> None:
    assert complete(build(CPU, {"optimizer": "paged_adamw_8bit"})).optimizer == "adamw_torch"
    assert complete(build(CPU, {"optimizer": "rmsprop"})).optimizer == "rmsprop"


def test_dpo_without_a_parent_compares_with_the_base(home: Path) -> None:
    assert complete(build(CPU, {"stage": "dpo"})).reference == "base"


def test_a_name_is_made_from_model_and_stage_and_is_not_taken(home: Path) -> None:
    assert complete(build(CPU)).name == "some-model-sft"
    (home / "runs" / "some-model-sft").mkdir(parents=True)
    assert complete(build(CPU)).name == "some-model-sft-2"


def test_a_missing_model_is_refused(home: Path) -> None:
    with pytest.raises(UsageError, match="--parent RUN"):
        complete(build({"device": "cpu"}))

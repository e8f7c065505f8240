"""Settings are completed by the parent run, the device and the runs folder."""

from pathlib import Path

import pytest

from finetune.config import build
from finetune.train.complete import complete, require_data
from quire import UsageError

CPU = {"model": "owner/Some-Model", "device": "cpu"}


def test_paged_optimizers_become_adamw_on_a_cpu(home: Path) -> None:
    assert complete(build(CPU, {"optimizer": "paged_adamw_8bit"})).optimizer == "adamw_torch"
    assert complete(build(CPU, {"optimizer": "rmsprop"})).optimizer == "rmsprop"


def test_dpo_without_a_parent_compares_with_the_base(home: Path) -> None:
    assert complete(build(CPU, {"stage": "dpo"})).reference == "base"


def test_a_name_is_made_from_model_and_stage_and_is_not_taken(home: Path) -> None:
    assert complete(build(CPU)).name == "some-model-sft"
    (home / "runs" / "some-model-sft").mkdir(parents=True)
    assert complete(build(CPU)).name == "some-model-sft-2"


def test_data_that_is_trained_on_is_not_held_out(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.jsonl").write_text("")
    monkeypatch.chdir(tmp_path)
    for data, held in (("rows.jsonl", str(tmp_path / "rows.jsonl")), ("ultrachat_200k", "ultrachat_200k")):
        with pytest.raises(UsageError, match=r"both trained on and held out.*data convert"):
            require_data(build(CPU, {"data": [data], "eval_data": [held]}))
    require_data(build(CPU, {"data": ["ultrachat_200k"], "eval_data": ["rows.jsonl"]}))


def test_a_missing_model_is_refused(home: Path) -> None:
    with pytest.raises(UsageError, match="--parent RUN"):
        complete(build({"device": "cpu"}))


@pytest.mark.parametrize(
    ("folder", "name"),
    [("Modell \u00e4", "modell-a-sft"), ("\u6a21\u578b-\u0968", "sft"), ("caf\u00e9.v2", "cafe.v2-sft")],
)
def test_a_name_made_from_a_folder_has_no_letter_that_a_name_cannot_have(
    home: Path, tmp_path: Path, folder: str, name: str
) -> None:
    (tmp_path / folder).mkdir()
    assert complete(build({"stage": "sft", "model": str(tmp_path / folder)})).name.endswith(name)

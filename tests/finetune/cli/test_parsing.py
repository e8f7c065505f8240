"""Flags: every setting has one, underscores and the names of other tools work, and --output-dir is answered."""

from dataclasses import fields
from typing import Any

import pytest

from finetune.cli import main, parser
from finetune.cli.parsing import config_of
from finetune.config import TrainConfig


def parsed(*words: str) -> TrainConfig:
    """The settings of an SFT command, read as `main` reads it."""
    from finetune.cli import _with_hyphens

    return config_of(parser().parse_args(_with_hyphens(["sft", *words])), stage="sft")


@pytest.mark.parametrize(
    ("words", "setting", "value"),
    [
        (["--lr", "3e-4"], "learning_rate", 3e-4),
        (["--batch_size", "2"], "batch_size", 2),
        (["--per_device_train_batch_size=3"], "batch_size", 3),
        (["--gradient_accumulation_steps", "8"], "accumulation", 8),
        (["--max_length", "99"], "max_length", 99),
        (["--num_train_epochs", "3"], "epochs", 3.0),
        (["--lora_r", "4"], "rank", 4),
        (["--lora_alpha", "8"], "alpha", 8.0),
        (["--lora_dropout", "0.1"], "dropout", 0.1),
        (["--model_name", "a/b_c"], "model", "a/b_c"),
        (["--model_name_or_path", "my_model"], "model", "my_model"),
        (["--dataset_name", "a_b.jsonl", "--dataset_name", "c.jsonl"], "data", ("a_b.jsonl", "c.jsonl")),
        (["one.jsonl", "--dataset_name", "two.jsonl"], "data", ("one.jsonl", "two.jsonl")),
        (["--no_gradient_checkpointing"], "gradient_checkpointing", False),
    ],
)
def test_the_names_of_other_tools_set_our_settings(words: list[str], setting: str, value: Any) -> None:
    assert getattr(parsed(*words), setting) == value


def test_every_setting_has_a_flag_with_hyphens_and_one_with_underscores() -> None:
    values = {bool: [], str: ["x"], tuple: ["x"], int: ["3"], float: ["0.5"]}
    flags = [field for field in fields(TrainConfig) if field.name not in ("stage", "data")]
    assert len(flags) > 50
    parse = parser().parse_args
    for field in flags:
        for name in (field.name, field.name.replace("_", "-")):
            from finetune.cli import _with_hyphens

            words = _with_hyphens(["sft", f"--{name}", *values[type(field.default)]])
            assert getattr(parse(words), field.name) not in (None, [])


def test_what_follows_two_hyphens_is_left_as_it_is() -> None:
    assert parsed("--rank", "4", "--", "--odd_name.jsonl").data == ("--odd_name.jsonl",)


def test_output_dir_is_answered_with_where_runs_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sft", "rows.jsonl", "--output_dir", "out"]) == 2
    assert "give --name, or set QUIRE_HOME" in capsys.readouterr().err

"""What all commands of training share: help, and errors with an exit code."""

from typing import Any

import pytest

from finetune.cli import main

RUN = ["run", "--sft-data", "a", "--dpo-data", "b", "--name", "x"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["sft", "x.json"], 2, "no model is given"),
        (["sft", "--rank", "0", "--schedule", "cosin", "--parent", "x"], 2, "3 settings are wrong"),
        (["sft", "--recipe", "phi-2-dpo"], 2, "is for dpo"),
        (["generate", "nothing", "hi"], 1, "there is no run 'nothing'"),
        (["plan"], 2, "no model is given"),
        (["plan", "--model", "phi-2", "--gpu-memory", "0"], 2, "must be above 0"),
        (["plan", "--model", "phi-2", "--targets", "Wqkv", "--gpu-memory", "9"], 1, "its modules are dense"),
        ([*RUN, "--set", "beta=1"], 2, "sft.SETTING=VALUE"),
        ([*RUN, "--dpo-recipe", "phi-2-sft"], 2, "the recipe phi-2-sft is for sft, not for dpo"),
        ([*RUN, "--sft-recipe", "phi-2-dpo"], 2, "or give a TOML file for sft or one of: phi-2-sft"),
    ],
)
def test_errors_have_their_message_and_exit_code(
    arguments: list[str], code: int, sentence: str, world: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    assert sentence in capsys.readouterr().err


def test_help_explains_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    from finetune.config import TrainConfig, setting_notes

    assert set(setting_notes()) == set(TrainConfig.__dataclass_fields__)
    assert main(["dpo", "--help"]) == 0
    assert "how close to stay to the reference model" in " ".join(capsys.readouterr().out.split())

"""A run that the tests of several commands use, and what they read of the output."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from finetune.cli import main
from finetune.data.records import Conversation, Preference

FLAGS = ["--device", "cpu", "--method", "lora", "--optimizer", "adamw_torch", "--schedule", "constant", "--warmup", "0",
         "--accumulation", "1", "--max-length", "128", "--no-gradient-checkpointing"]  # fmt: skip


@pytest.fixture(scope="session")
def trained_world(
    models: dict[str, str], conversations: list[Conversation], preferences: list[Preference],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:  # fmt: skip
    """A home with an SFT run made by the command, and the files that it was made of."""
    folder = tmp_path_factory.mktemp("world")
    rows, pairs = folder / "rows.json", folder / "pairs.jsonl"
    alpaca = [
        {"instruction": r.messages[0].content, "input": "", "output": r.messages[1].content} for r in conversations
    ]
    rows.write_text(json.dumps(alpaca))
    pairs.write_text("".join(
        json.dumps({"prompt": p.prompt[0].content, "chosen": p.chosen[0].content, "rejected": p.rejected[0].content}) + "\n"
        for p in preferences
    ))  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUIRE_HOME", str(folder / "home"))
        code = main(["sft", str(rows), "--model", models["phi"], "--name", "taught", "--learning-rate", "5e-3",
                     "--epochs", "60", "--stop-loss", "0.03", "--batch-size", "6", "--log-every", "5", *FLAGS])  # fmt: skip
    assert code == 0
    return {"rows": str(rows), "pairs": str(pairs), "home": folder / "home", "model": models["phi"]}


@pytest.fixture
def world(trained_world: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The same, with its home set."""
    monkeypatch.setenv("QUIRE_HOME", str(trained_world["home"]))
    return trained_world


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[[], Any]:
    """Return what went to stdout since the last call, as one JSON object; NaN and Infinity are no JSON."""
    return lambda: json.loads(capsys.readouterr().out, parse_constant=pytest.fail)

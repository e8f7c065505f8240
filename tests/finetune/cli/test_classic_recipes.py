"""The recipes that people know, each as its commands, on tiny models of the same kind and shape."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune.cli import main
from finetune.runs.manifest import read_manifest
from finetune.templates.find import choose_template, load_template
from finetune.templates.messages import Message
from finetune.train.load import load_run, load_tokenizer
from finetune.train.metrics import read_metrics
from tests.finetune.conftest import SOUNDS
from tests.finetune.data.sources.test_hub_datasets import repo  # noqa: F401 - a fixture
from tests.finetune.data.sources.test_oasst import tree, wrap

FLAGS = ["--device", "cpu", "--method", "lora", "--optimizer", "adamw_torch", "--max-steps", "2", "--accumulation", "1",
         "--max-length", "160", "--rank", "4", "--log-every", "1", "--no-gradient-checkpointing"]  # fmt: skip


@pytest.fixture(autouse=True)
def own_home(home: Path) -> Iterator[Path]:
    """Each recipe has a home of its own."""
    yield home


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def alpaca(tmp_path: Path) -> str:
    """Instructions with and without an input."""
    rows = [
        row
        for animal, sound in SOUNDS.items()
        for row in (
            {"instruction": f"What does the {animal} say?", "input": "", "output": sound},
            {"instruction": "What does it say?", "input": animal, "output": sound},
        )
    ]
    return write(tmp_path / "alpaca.jsonl", rows)


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    """Questions with a better and a worse answer."""
    rows = [
        {"system": "", "question": f"What does the {animal} say?", "chosen": sound, "rejected": "I do not know."}
        for animal, sound in SOUNDS.items()
    ]
    return write(tmp_path / "pairs.jsonl", rows)


def shown(file: str, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """Return a row as the model sees it."""
    capsys.readouterr()
    assert main(["data", "show", file, "--color", "never", *flags]) == 0
    return capsys.readouterr().out


def test_phi_2_on_alpaca_then_dpo(
    models: dict[str, str], alpaca: str, pairs: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(alpaca, capsys, "--model", models["phi"], "--template", "alpaca", "--rows", "2")
    assert "### Instruction:\nWhat does it say?\n\n### Input:\ncow\n\n### Response:⟦moo⟧⟦<|endoftext|>⟧" in text
    system = ["--system", "Answer with one sound."]
    words = ["sft", alpaca, "--model", models["phi"], "--template", "alpaca", "--name", "phi-sft", *system, *FLAGS]
    assert main(words) == 0
    assert "answers end with <|endoftext|>, the tokenizer's own end token (it has no </s>)" in capsys.readouterr().err
    assert main(["dpo", pairs, "--parent", "phi-sft", "--name", "phi-dpo", *FLAGS]) == 0
    first = read_metrics(home / "runs" / "phi-dpo")[0]
    assert first["loss"] == pytest.approx(0.693147, abs=1e-5)
    sft, dpo = (load_template(home / "runs" / name / "adapter") for name in ("phi-sft", "phi-dpo"))
    assert sft == dpo
    assert (sft.name, sft.end_token, sft.stop) == ("alpaca", "<|endoftext|>", ("<|endoftext|>", "\n### Instruction:"))
    for name in ("phi-sft", "phi-dpo"):  # the system message is stored, and DPO takes it over
        adapter = home / "runs" / name / "adapter"
        assert load_template(adapter).default_system == system[1] == read_manifest(name).config["system"]
        assert system[1] in (adapter / "chat_template.jinja").read_text()
    assert main(["generate", "phi-dpo", "What does the cow say?", "--max-new-tokens", "4", "--device", "cpu"]) == 0


def test_phi_2_on_open_assistant_trees(
    models: dict[str, str], tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    english = [
        json.loads(json.dumps(wrap(tree())).replace('"message_id": "', f'"message_id": "{n}-')) for n in range(6)
    ]
    german = json.loads(json.dumps(english[0]).replace('"lang": "en"', '"lang": "de"').replace('"0-', '"de-'))
    trees, rows, held = (
        write(tmp_path / "trees.jsonl", [*english, german]),
        tmp_path / "rows.jsonl",
        tmp_path / "held.jsonl",
    )
    chosen = ["--language", "en", "--depth", "4", "--pick", "best"]
    flags = ["--out", str(rows), "--valid", str(held), "--valid-share", "0.2"]
    assert main(["data", "convert", trees, *chosen, *flags, "--json"]) == 0
    written = json.loads(capsys.readouterr().out)["written"]
    assert main(["sft", str(rows), "--eval-data", str(held), "--model", models["phi"], "--name", "oasst", *FLAGS]) == 0
    report = json.loads((home / "runs" / "oasst" / "report.json").read_text())
    assert [report["rows"]["rows"], report["held_out_rows"]["rows"]] == [written[str(rows)], written[str(held)]]
    assert load_template(home / "runs" / "oasst" / "adapter").name == "phi-2"


def test_qwen2_with_lora_and_rows_grouped_by_length(models: dict[str, str], alpaca: str, home: Path) -> None:
    flags = ["--group-by-length", "--batch-size", "4", "--epochs", "1"]
    assert main(["sft", alpaca, "--model", models["qwen2"], "--name", "qwen", *FLAGS, *flags]) == 0
    assert read_manifest("qwen").config["group_by_length"] is True
    assert [line["step"] for line in read_metrics(home / "runs" / "qwen") if "loss" in line] == [1, 2]


PROMPTS = {
    "guanaco": "### Human: What does the cow say?### Assistant:",
    "zephyr": "<|user|>\nWhat does the cow say?<|im_end|>\n<|assistant|>\n",
    "llama-2": "[INST] What does the cow say? [/INST]",
}


@pytest.mark.parametrize("name", PROMPTS)
def test_published_prompts_on_qwen2(models: dict[str, str], name: str) -> None:
    tokenizer = load_tokenizer(models["qwen2"])
    template = choose_template(name, models["qwen2"], tokenizer)
    assert template.render((Message("user", "What does the cow say?"),), add_generation_prompt=True) == PROMPTS[name]
    assert template.end_token == tokenizer.eos_token == "<|im_end|>"


def test_a_run_stores_the_published_prompt_that_it_was_trained_with(models: dict[str, str], alpaca: str) -> None:
    words = ["sft", alpaca, "--model", models["qwen2"], "--template", "zephyr", "--name", "zephyr", *FLAGS]
    assert main(words) == 0
    loaded = load_run("zephyr", device="cpu")
    question = [{"role": "user", "content": "What does the cow say?"}]
    rendered = loaded.tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    assert rendered == PROMPTS["zephyr"]
    assert loaded.template.end_token == loaded.tokenizer.eos_token == "<|im_end|>"


@pytest.mark.usefixtures("repo")
def test_ultrachat_and_ultrafeedback_are_trained_by_name(
    models: dict[str, str],
    home: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["sft", "ultrachat_200k", "--model", models["qwen2"], "--name", "chat", *FLAGS]) == 0
    name = "HuggingFaceH4/ultrafeedback_binarized"
    assert main(["dpo", name, "--parent", "chat", "--name", "feedback", *FLAGS]) == 0
    assert "ultrachat_200k: messages, 3 of 3 rows" in (err := capsys.readouterr().err)
    assert f"{name}: ultrafeedback-binarized, 4 of 4 rows" in err
    assert read_manifest("chat").data["ultrachat_200k"].startswith("hub:")

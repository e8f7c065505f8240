"""A finished QLoRA run is used and exported on the CPU where a GPU is visible: nothing of it goes to the GPU.

The questions about GPUs are answered as on a machine with one, and this one has none: what is put there is an error.
"""

import io
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.cli import main
from finetune.config import build
from finetune.data.records import Preference
from finetune.evaluate.compare import compare_runs
from finetune.evaluate.score import score_pairs
from finetune.export.handover import to_gguf
from finetune.train.run import train
from tests.finetune.export_home import Tuned

COW = "What does the cow say?"


@pytest.fixture
def qwen2(tuned_models: dict[str, Tuned], monkeypatch: pytest.MonkeyPatch) -> Tuned:
    """A tuned model, its home being the home folder, on a machine with a GPU."""
    monkeypatch.setenv("QUIRE_HOME", str(tuned_models["qwen2"].home))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    return tuned_models["qwen2"]


def test_generate_and_chat_answer_on_the_cpu(
    qwen2: Tuned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Planted fault: PEFT reads an adapter through the GPU, although its base is on the CPU."""
    assert main(["generate", str(qwen2.run), COW, "--device", "cpu"]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{COW}\n"))
    assert main(["chat", str(qwen2.run), "--device", "cpu"]) == 0
    assert capsys.readouterr().out == "The cow says moo.\n" * 2


def test_compare_answers_on_the_cpu(qwen2: Tuned) -> None:
    (row,) = compare_runs([qwen2.run], [COW], max_new_tokens=8, device="cpu")["prompts"]
    assert row["answers"]["qwen2-tuned"]["text"] == "The cow says moo." != row["answers"]["base"]["text"]


def test_score_reads_run_and_reference_on_the_cpu(
    qwen2: Tuned, preferences: list[Preference], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:  # a GPU is visible afterwards
        patch.setattr(torch.cuda, "is_available", lambda: False)
        settings: dict[str, Any] = {"stage": "dpo", "parent": str(qwen2.run), "device": "cpu", "name": "beside-a-gpu"}
        run = train(build(settings, {"max_steps": 1, "max_length": 128}), records=preferences, progress=lambda _: None)
    assert abs(score_pairs(run, preferences, device="cpu").margin) < 1.0  # next to its reference, the parent
    assert score_pairs(qwen2.run, preferences, device="cpu").accuracy == 1.0  # its reference is the bare base


def test_an_export_merges_and_compares_on_the_cpu(qwen2: Tuned, tmp_path: Path) -> None:
    assert to_gguf(qwen2.run, tmp_path / "m.gguf").parity.passed

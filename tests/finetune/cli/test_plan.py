"""`plan` answers as text, as JSON and by its exit code."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune.cli import main, plan
from finetune.train.cards import Card


def test_plan_answers_in_json_and_by_exit_code(printed: Callable[[], Any], capsys: pytest.CaptureFixture[str]) -> None:
    plan = ["plan", "--model", "Qwen2.5-1.5B", "--rank", "16", "--targets", "q_proj,v_proj", "--json"]
    assert main([*plan, "--gpu-memory", "24"]) == 0
    found = printed()
    assert found["trainable_parameters"] == 2_179_072 and found["fits"] is True and found["memory_gb"] > 1
    assert main([*plan, "--gpu-memory", "1.5"]) == 1
    assert printed()["fits"] is False
    for model in ("Qwen2.5-7B", "phi-2"):
        assert main(["plan", "--model", model, "--card", "h100", "--rows", "1000"]) == 0
        assert "fits" in capsys.readouterr().out


def test_a_plan_for_another_card_needs_no_gpu_here(printed: Callable[[], Any]) -> None:
    command = ["plan", "--model", "Qwen2.5-1.5B", "--dtype", "fp16", "--use-kernels", "--card", "t4", "--json"]
    assert main(command) == 0
    found = printed()
    assert (found["dtype"], found["problems"]) == ("fp16", [])


def test_rows_give_tokens_even_without_a_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--model", "phi-2", "--gpu-memory", "24", "--rows", "1000"]) == 0
    assert "1,024,000 tokens at most; give --card NAME to estimate the time" in capsys.readouterr().out
    assert main(["plan", "--model", "phi-2", "--card", "h100", "--rows", "1000"]) == 0
    assert "1,024,000 tokens: about" in capsys.readouterr().out


def test_plan_says_what_the_export_will_need(printed: Callable[[], Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--model", "Qwen2.5-1.5B", "--method", "lora", "--gpu-memory", "24", "--json"]) == 0
    found = printed()["export"]
    assert 2 < found["memory_gb"] < 8 and found["disk_gb"] == pytest.approx(6 * 1_543_714_304 / 2**30, abs=0.01)
    assert main(["plan", "--model", "Qwen2.5-7B", "--gpu-memory", "24"]) == 0
    assert "its export, on the CPU: 10.1 GB of memory, 42.6 GB of free disk" in capsys.readouterr().out


def test_plan_names_what_keeps_a_run_from_starting_on_the_gpu_of_this_machine(
    printed: Callable[[], Any], capsys: pytest.CaptureFixture[str], gpu_without_compiler: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(plan, "detect_card", lambda: Card("a card", 80.0))
    command = ["plan", "--model", "Qwen2.5-1.5B"]
    assert main(command) == 1
    out = capsys.readouterr().out
    assert "a card, 80 GB: fits" in out and "cannot start here: there is no C compiler" in out
    assert main([*command, "--card", "h100"]) == 0  # another machine's
    capsys.readouterr()
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert main([*command, "--card", "h100", "--json"]) == 1
    assert ["FSDP" in found["problem"] for found in printed()["problems"]] == [True]

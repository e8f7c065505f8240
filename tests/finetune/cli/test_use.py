"""`score`, `compare` and `generate` use finished runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.cli import main
from finetune.export.held_out import held_out_rows
from finetune.runs.manifest import read_manifest
from finetune.train.metrics import read_metrics
from tests.finetune.cli.conftest import FLAGS


def test_generate_prints_only_the_answer(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "taught", "What does the cow say?", "--max-new-tokens", "20", "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "The cow says moo.\n"
    assert "finish reason: stop" in captured.err


def test_a_truncated_answer_has_the_finish_reason_length(world: Any, printed: Callable[[], Any]) -> None:
    assert (
        main(["generate", "taught", "What does the cow say?", "--max-new-tokens", "2", "--device", "cpu", "--json"])
        == 0
    )
    assert printed()["finish_reason"] == "length"


def test_a_seed_repeats_a_sampled_answer(world: Any, printed: Callable[[], Any]) -> None:
    def answer(*flags: str) -> str:
        assert (
            main(["generate", "taught", "Name it", "--max-new-tokens", "12", "--device", "cpu", "--json", *flags]) == 0
        )
        return str(printed()["text"])

    sampled = ["--temperature", "2", "--top-p", "0.95", "--top-k", "100", "--seed", "5"]
    assert answer(*sampled) == answer(*sampled) != answer()


def test_a_sampling_flag_out_of_range_is_wrong_usage_before_anything_loads(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", "no-such-run", "hi", "--temperature", "3"]) == 2
    assert "use a value from 0 to 2" in capsys.readouterr().err


def test_flags_without_effect_are_reported(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "taught", "hi", "--top-p", "0.5", "--max-new-tokens", "1", "--device", "cpu"]) == 0
    assert "without effect at --temperature 0: --top-p" in capsys.readouterr().err


def test_raw_continues_the_text_without_the_template(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    prompt = "Instruct: What does the cow say?\nOutput:"  # what phi-2's template writes
    assert main(["generate", "taught", prompt, "--raw", "--max-new-tokens", "20", "--device", "cpu"]) == 0
    assert capsys.readouterr().out == " The cow says moo.\n"


def test_raw_refuses_a_system_message(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "no-such-run", "hi", "--raw", "--system", "Be brief."]) == 2
    assert "has no place for --system" in capsys.readouterr().err


def test_a_dpo_run_is_scored_and_compared_with_its_parents(world: Any, printed: Callable[[], Any]) -> None:
    assert main(["dpo", world["pairs"], "--parent", "taught", "--recipe", "phi-2-dpo", "--name", "liked", "--max-steps", "8",
                 "--batch-size", "6", "--learning-rate", "3e-4", "--log-every", "1", "--eval-share", "0",
                 "--no-precompute-reference", "--json", *FLAGS]) == 0  # fmt: skip
    assert printed()["steps"] == 8
    assert main(["score", "liked", world["pairs"], "--json", "--device", "cpu"]) == 0
    scores = printed()
    last = [line for line in read_metrics(world["home"] / "runs" / "liked") if "rewards/margins" in line][-1]
    assert scores["pairs"] == 6 and scores["accuracy"] == 1.0
    assert scores["margin"] >= last["rewards/margins"] - 1e-3  # one step further than what was logged last
    assert main(["score", "taught", world["pairs"], "--json", "--device", "cpu"]) == 0
    assert printed()["accuracy"] == 1.0  # SFT against its base: the right answers gained
    assert main(["compare", "liked", "--prompt", "What does the cow say?", "--max-new-tokens", "12", "--device", "cpu",
                 "--json"]) == 0  # fmt: skip
    found = printed()
    assert found["models"] == ["base", "taught", "liked"]
    answers = found["prompts"][0]["answers"]
    assert answers["taught"]["text"] == "The cow says moo." != answers["base"]["text"]
    page = (world["home"] / "runs" / "liked" / "compare.html").read_text()
    assert "The cow says moo." in page and "<script" not in page


def test_a_run_is_used_from_another_folder_than_it_was_trained_in(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, near = Path(world["model"]), Path(world["model"]).parent
    shutil.copy(world["rows"], near / "rows.json")
    monkeypatch.chdir(near)
    assert main(["sft", "rows.json", "--model", model.name, "--name", "near", "--max-steps", "1", *FLAGS]) == 0
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "near", "hi", "--max-new-tokens", "1", "--device", "cpu"]) == 0
    assert held_out_rows("near", read_manifest("near"))


def test_a_pulled_adapter_answers_and_is_scored_against_its_base(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from finetune.export.hub import pull, push

    push("taught", f"file:{tmp_path / 'there'}")
    back = str(pull(f"file:{tmp_path / 'there'}", tmp_path / "back"))
    flags = ["--base", world["model"], "--device", "cpu"]
    assert main(["generate", back, "What does the cow say?", *flags]) == 0
    assert capsys.readouterr().out == "The cow says moo.\n"
    assert main(["score", back, world["pairs"], *flags, "--json"]) == 0
    pulled = json.loads(capsys.readouterr().out)
    assert main(["score", "taught", world["pairs"], "--json", "--device", "cpu"]) == 0
    assert pulled["rewards"] == json.loads(capsys.readouterr().out)["rewards"]


def test_a_merged_folder_answers_and_needs_a_reference_to_be_scored(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from finetune.export.merge import merge

    merge("taught", tmp_path / "merged", measure=False)
    merged = str(tmp_path / "merged")
    assert main(["generate", merged, "What does the cow say?", "--device", "cpu"]) == 0
    assert capsys.readouterr().out == "The cow says moo.\n"
    assert main(["score", merged, world["pairs"], "--device", "cpu"]) == 2
    assert "add --reference MODEL" in capsys.readouterr().err
    assert main(["score", merged, world["pairs"], "--device", "cpu", "--json", "--reference", world["model"]]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["score", "taught", world["pairs"], "--json", "--device", "cpu"]) == 0
    wanted = json.loads(capsys.readouterr().out)
    assert found["margin"] == pytest.approx(wanted["margin"], rel=1e-3)


def test_a_reference_with_another_vocabulary_is_refused(
    world: Any, models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = [models["phi"], world["pairs"], "--device", "cpu", "--reference", models["qwen2"]]
    assert main(["score", *given]) == 2
    assert "has another vocabulary" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the hub's library with its HTTP library
def test_an_adapter_on_the_hub_answers(world: Any, hub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from finetune.export.hub import push

    push("taught", "me/animals")
    given = ["me/animals", "What does the cow say?", "--base", world["model"], "--device", "cpu"]
    assert main(["generate", *given]) == 0
    assert capsys.readouterr().out == "The cow says moo.\n"

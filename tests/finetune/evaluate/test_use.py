"""Using runs: commands from a data file to an answer, sweeps that resume, comparisons and scores, as a person types them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from finetune.cli import main
from finetune.data.records import Conversation, Preference
from finetune.export.merge import held_out_rows
from finetune.runs.manifest import read_manifest
from finetune.train.metrics import read_metrics
from finetune.train.sweep import parse_variations
from quire import UsageError

FLAGS = ["--device", "cpu", "--method", "lora", "--optimizer", "adamw_torch", "--schedule", "constant", "--warmup", "0",
         "--accumulation", "1", "--max-length", "128", "--no-gradient-checkpointing"]  # fmt: skip


@pytest.fixture(scope="module")
def world(
    models: dict[str, str], conversations: list[Conversation], preferences: list[Preference],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:  # fmt: skip
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
        yield {"rows": str(rows), "pairs": str(pairs), "home": folder / "home", "model": models["phi"]}


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    """What went to stdout, as one JSON object."""
    return json.loads(capsys.readouterr().out)


def test_generate_prints_only_the_answer(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "taught", "What does the cow say?", "--max-new-tokens", "20", "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "The cow says moo.\n"
    assert "finish reason: stop" in captured.err


def test_a_cut_answer_says_length(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["generate", "taught", "What does the cow say?", "--max-new-tokens", "2", "--device", "cpu", "--json"])
        == 0
    )
    assert printed(capsys)["finish_reason"] == "length"


def test_chat_remembers_and_ends_with_the_input(
    world: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("What does the dog say?\nWhat does the cow say?\n"))
    assert main(["chat", "taught", "--max-new-tokens", "12", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "The dog says woof." and len(lines) >= 2


def test_a_sweep_ranks_by_held_out_rows_and_resumes(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sweep", world["pairs"], "--parent", "taught", "--vary", "beta=0.05,0.5", "--vary", "loss=sigmoid,ipo",
               "--name", "betas", "--eval-share", "0.3", "--max-steps", "2", "--batch-size", "4", "--learning-rate", "1e-4",
               "--log-every", "1", "--eval-every", "1", "--json", *FLAGS]  # fmt: skip
    assert main(command) == 0
    table = printed(capsys)
    assert len(table["runs"]) == 4
    assert [row["rank"] for row in table["runs"]] == [1, 2, 3, 4]
    assert table["best"] == table["runs"][0]["run"]
    assert all(row["kl"] is not None and row["accuracy"] is not None for row in table["runs"])
    folder = world["home"] / "runs" / "betas"
    assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert "| rank | beta | loss |" in (folder / "sweep.md").read_text()
    times = {
        row["run"]: (world["home"] / "runs" / row["run"] / "manifest.json").stat().st_mtime_ns for row in table["runs"]
    }
    # the reference was scored once for all four
    assert len(list((world["home"] / "cache" / "reference").glob("*.npz"))) == 2  # training and held-out rows
    assert main(command) == 0
    assert printed(capsys) == table
    for run, when in times.items():
        assert (world["home"] / "runs" / run / "manifest.json").stat().st_mtime_ns == when
    command[command.index("--max-steps") + 1] = "3"  # runs of two steps are no part of a sweep of three
    assert main(command) == 2
    assert "was started with other settings: max_steps was 2, is 3" in capsys.readouterr().err


def test_a_sweep_without_held_out_rows_is_refused(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", world["pairs"], "--parent", "taught", "--vary", "beta=0.1", "--name", "x", *FLAGS]) == 2
    assert "--eval-share" in capsys.readouterr().err


@pytest.mark.parametrize("item", ["beta", "colour=red", "beta="])
def test_a_variation_that_cannot_be_is_refused(item: str) -> None:
    with pytest.raises(UsageError, match="SETTING=A,B"):
        parse_variations([item])


def test_dpo_score_and_compare_go_together(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dpo", world["pairs"], "--parent", "taught", "--recipe", "phi-2-dpo", "--name", "liked", "--max-steps", "8",
                 "--batch-size", "6", "--learning-rate", "3e-4", "--log-every", "1", "--eval-share", "0",
                 "--no-precompute-reference", "--json", *FLAGS]) == 0  # fmt: skip
    assert printed(capsys)["steps"] == 8
    assert main(["score", "liked", world["pairs"], "--json", "--device", "cpu"]) == 0
    scores = printed(capsys)
    last = [line for line in read_metrics(world["home"] / "runs" / "liked") if "rewards/margins" in line][-1]
    assert scores["pairs"] == 6 and scores["accuracy"] == 1.0
    assert scores["margin"] >= last["rewards/margins"] - 1e-3  # one step further than what was logged last
    assert main(["score", "taught", world["pairs"], "--json", "--device", "cpu"]) == 0
    assert printed(capsys)["accuracy"] == 1.0  # SFT against its base: the right answers gained
    assert main(["compare", "liked", "--prompt", "What does the cow say?", "--max-new-tokens", "12", "--device", "cpu",
                 "--json"]) == 0  # fmt: skip
    found = printed(capsys)
    assert found["models"] == ["base", "taught", "liked"]
    answers = found["prompts"][0]["answers"]
    assert answers["taught"]["text"] == "The cow says moo." != answers["base"]["text"]
    page = (world["home"] / "runs" / "liked" / "compare.html").read_text()
    assert "The cow says moo." in page and "<script" not in page


def test_an_html_page_escapes_what_models_say() -> None:
    from finetune.evaluate.compare import to_html

    row = {"prompt": "<b>", "answers": {"base": {"text": "<script>", "finish": "stop", "tokens": 1}}}
    page = to_html({"base": "m", "models": ["base"], "prompts": [row]})
    assert "&lt;script&gt;" in page and "<script>" not in page


def test_run_goes_from_data_to_dpo_in_one_command(
    world: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "sft.toml").write_text('method = "lora"\ndevice = "cpu"\nmax_steps = 2\noptimizer = "adamw_torch"\n')
    (tmp_path / "dpo.toml").write_text('method = "lora"\ndevice = "cpu"\nmax_steps = 2\nlearning_rate = 1e-5\n')
    assert main(["run", "--sft-data", world["rows"], "--dpo-data", world["pairs"], "--model", world["model"], "--name", "both",
                 "--sft-recipe", str(tmp_path / "sft.toml"), "--dpo-recipe", str(tmp_path / "dpo.toml"),
                 "--set", "dpo.beta=0.3", "--json"]) == 0  # fmt: skip
    runs = [row["run"] for row in printed(capsys)["runs"]]
    assert runs == ["both-sft", "both-dpo"]
    text = (world["home"] / "runs" / "both-dpo" / "config.toml").read_text()
    assert "beta = 0.3" in text


def test_plan_answers_in_json_and_by_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    plan = ["plan", "--model", "Qwen2.5-1.5B", "--rank", "16", "--targets", "q_proj,v_proj", "--json"]
    assert main([*plan, "--gpu-memory", "24"]) == 0
    found = printed(capsys)
    assert found["trainable_parameters"] == 2_179_072 and found["fits"] is True and found["memory_gb"] > 1
    assert main([*plan, "--gpu-memory", "1.5"]) == 1
    assert printed(capsys)["fits"] is False
    for model in ("Qwen2.5-7B", "phi-2"):
        assert main(["plan", "--model", model, "--card", "h100", "--rows", "1000"]) == 0
        assert "fits" in capsys.readouterr().out


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
        (["run", "--sft-data", "a", "--dpo-data", "b", "--name", "x", "--set", "beta=1"], 2, "sft.SETTING=VALUE"),
    ],
)
def test_what_is_wrong_is_said_with_its_exit_code(
    arguments: list[str], code: int, sentence: str, world: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    assert sentence in capsys.readouterr().err


def test_a_wrong_path_costs_no_name(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sft", world["rows"], "--model", str(world["home"] / "none"), "--name", "mistyped"]) == 1
    assert not (world["home"] / "runs" / "mistyped").exists()


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


def test_a_short_run_shows_its_last_loss(world: Any, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sft", world["rows"], "--model", world["model"], "--name", "short", "--max-steps", "3", "--json", *FLAGS]
    assert main([*command, "--learning-rate", "1e-2", "--batch-size", "6"]) == 0
    caught = capsys.readouterr()
    assert f"{world['rows']}: alpaca, 6 of 6 rows" in caught.err  # what it was taken for
    loss = json.loads(caught.out)["loss"]
    assert loss["last"] < loss["first"]
    steps = [line["step"] for line in read_metrics(world["home"] / "runs" / "short") if "loss" in line]
    assert steps == [1, 3]  # log_every is 10


def test_prompts_are_read_from_text_and_from_json_lines(tmp_path: Path) -> None:
    from finetune.evaluate.compare import read_prompts

    (tmp_path / "a.txt").write_text("one\n\n{two}\n")
    assert read_prompts(tmp_path / "a.txt") == ["one", "{two}"]
    rows = [{"question_id": 81, "turns": ["first", "second"]}, {"prompt": "plain"}]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_prompts(tmp_path / "b.jsonl") == ["first", "plain"]
    (tmp_path / "c.jsonl").write_text('{"text": "x"}\n')
    with pytest.raises(UsageError, match="line 1: no prompt in text"):
        read_prompts(tmp_path / "c.jsonl")


def test_every_setting_says_what_it_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    from finetune.config import TrainConfig, setting_notes

    assert set(setting_notes()) == set(TrainConfig.__dataclass_fields__)
    assert main(["dpo", "--help"]) == 0
    assert "strength of the reference" in " ".join(capsys.readouterr().out.split())

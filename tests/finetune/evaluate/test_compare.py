"""Comparisons read prompts and escape what models write."""

import json
from pathlib import Path

import pytest

from finetune.data.records import Conversation
from finetune.templates.messages import Message
from quire import UsageError


def test_the_html_page_escapes_answers() -> None:
    from finetune.evaluate.compare import to_html

    row = {"prompt": "<b>", "answers": {"base": {"text": "<script>", "finish": "stop", "tokens": 1}}}
    page = to_html({"base": "m", "models": ["base"], "prompts": [row]})
    assert "&lt;script&gt;" in page and "<script>" not in page


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


def test_the_base_of_a_qlora_run_is_quantized_as_the_run_has_it(
    home: Path, models: dict[str, str], conversations: list[Conversation]
) -> None:
    """A run that learned nothing answers as its base; in 16 bits the base answers otherwise."""
    from finetune.config import build
    from finetune.evaluate.compare import compare_runs
    from finetune.train.generate import generate
    from finetune.train.load import load_plain
    from finetune.train.run import train

    idle = {"model": models["qwen2"], "name": "idle", "method": "qlora", "device": "cpu", "optimizer": "adamw_torch",
            "max_steps": 1, "learning_rate": 1e-12, "max_length": 128}  # fmt: skip
    train(build(idle), records=conversations)
    found = compare_runs(["idle"], ["What does the cow say?"], max_new_tokens=24, device="cpu")
    [answers] = [row["answers"] for row in found["prompts"]]
    assert answers["base"] == answers["idle"]
    asked = (Message("user", "What does the cow say?"),)
    assert generate(load_plain(models["qwen2"], device="cpu"), asked, max_new_tokens=24).text != answers["base"]["text"]

"""Comparisons read prompts and escape what models write."""

import json
from pathlib import Path

import pytest

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

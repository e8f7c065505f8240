"""Curves show what was logged."""

import json
from pathlib import Path

from finetune.train.curves import draw_curves
from finetune.train.metrics import read_metrics


def test_curves_are_drawn_only_when_something_was_logged(tmp_path: Path) -> None:
    assert draw_curves(tmp_path) is None
    lines = [{"step": step, "loss": 1 / step, "rewards/chosen": step} for step in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_metrics(tmp_path) == lines
    path = draw_curves(tmp_path)
    assert path is not None and path.read_bytes().startswith(b"\x89PNG")

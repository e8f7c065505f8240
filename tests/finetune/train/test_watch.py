"""What goes wrong is said once, in a line, with the remedy."""

import json
from pathlib import Path

from finetune.config import build
from finetune.train.watch import Rails, draw_curves, read_metrics, static_notices


def test_a_learning_rate_far_above_custom_is_said_with_the_custom_one() -> None:
    high = build({"stage": "dpo", "parent": "x", "learning_rate": 2e-4})
    assert len(static_notices(high)) == 1
    assert "set --learning-rate 5e-06" in static_notices(high)[0]
    assert static_notices(build({"stage": "dpo", "parent": "x", "learning_rate": 2e-5})) == []
    full = build({"stage": "dpo", "parent": "x", "method": "full", "learning_rate": 2e-5})
    assert "5e-07" in static_notices(full)[0]
    assert static_notices(build({"stage": "sft", "learning_rate": 1e-2})) == []


def test_dpo_on_a_model_that_was_not_tuned_is_said() -> None:
    notices = static_notices(build({"stage": "dpo", "model": "m", "learning_rate": 5e-6}))
    assert len(notices) == 1 and "--parent" in notices[0]
    assert static_notices(build({"stage": "dpo", "model": "m", "loss": "orpo", "learning_rate": 5e-6})) == []


def test_collapse_of_chosen_answers_is_said_once() -> None:
    said: list[str] = []
    rails = Rails(said.append)
    for value in (0.0, -20.0, -29.0):
        rails.look({"kl/chosen": value, "logps/chosen": -50.0 + value})
    assert said == []
    rails.look({"kl/chosen": -31.0})
    rails.look({"kl/chosen": -99.0})
    assert len(said) == 1
    assert "fell by 31.0 nats" in said[0] and "sigmoid+0.2*sft" in said[0]


def test_a_batch_of_longer_answers_is_no_collapse() -> None:
    """Log-probabilities of batches differ by their lengths; only those of the same rows, or means, tell of collapse."""
    said: list[str] = []
    rails = Rails(said.append)
    for value in (-458.0, -199.0, -563.0, -480.0):
        rails.look({"kl/chosen": -0.5, "logps/chosen": value})
    free = Rails(said.append)
    for value in (-50.0, -90.0, -55.0, -70.0, -60.0, -95.0, -50.0):
        free.look({"logps/chosen": value})
    assert said == []
    for value in (-120.0, -110.0, -130.0):
        free.look({"logps/chosen": value})
    assert len(said) == 1 and "fell by" in said[0]


def test_growing_answers_are_said_once() -> None:
    said: list[str] = []
    rails = Rails(said.append)
    for tokens in (20.0, 29.0, 31.0, 60.0):
        rails.look({"sample_tokens": tokens})
    assert len(said) == 1 and "from 20 to 31 tokens" in said[0]


def test_curves_are_drawn_of_what_was_logged_and_of_nothing_not(tmp_path: Path) -> None:
    assert draw_curves(tmp_path) is None
    lines = [{"step": step, "loss": 1 / step, "rewards/chosen": step} for step in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_metrics(tmp_path) == lines
    path = draw_curves(tmp_path)
    assert path is not None and path.read_bytes().startswith(b"\x89PNG")

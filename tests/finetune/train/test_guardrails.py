"""What goes wrong is said once, in a line, with the remedy."""

from finetune.config import build
from finetune.train.guardrails import GuardRails, settings_warnings


def test_a_learning_rate_far_above_custom_is_said_with_the_custom_one() -> None:
    high = build({"stage": "dpo", "parent": "x", "learning_rate": 2e-4})
    assert len(settings_warnings(high)) == 1
    assert "set --learning-rate 5e-06" in settings_warnings(high)[0]
    assert settings_warnings(build({"stage": "dpo", "parent": "x", "learning_rate": 2e-5})) == []
    full = build({"stage": "dpo", "parent": "x", "method": "full", "learning_rate": 2e-5})
    assert "5e-07" in settings_warnings(full)[0]
    assert settings_warnings(build({"stage": "sft", "learning_rate": 1e-2})) == []


def test_dpo_on_a_model_that_was_not_tuned_is_said() -> None:
    notices = settings_warnings(build({"stage": "dpo", "model": "m", "learning_rate": 5e-6}))
    assert len(notices) == 1 and "--parent" in notices[0]
    assert settings_warnings(build({"stage": "dpo", "model": "m", "loss": "orpo", "learning_rate": 5e-6})) == []


def test_collapse_of_chosen_answers_is_said_once() -> None:
    said: list[str] = []
    rails = GuardRails(said.append)
    for value in (0.0, -20.0, -29.0):
        rails.check({"kl/chosen": value, "logps/chosen": -50.0 + value})
    assert said == []
    rails.check({"kl/chosen": -31.0})
    rails.check({"kl/chosen": -99.0})
    assert len(said) == 1
    assert "fell by 31.0 nats" in said[0] and "sigmoid+0.2*sft" in said[0]


def test_a_batch_of_longer_answers_is_no_collapse() -> None:
    """Log-probabilities of batches differ by their lengths; only those of the same rows, or means, tell of collapse."""
    said: list[str] = []
    rails = GuardRails(said.append)
    for value in (-458.0, -199.0, -563.0, -480.0):
        rails.check({"kl/chosen": -0.5, "logps/chosen": value})
    free = GuardRails(said.append)
    for value in (-50.0, -90.0, -55.0, -70.0, -60.0, -95.0, -50.0):
        free.check({"logps/chosen": value})
    assert said == []
    for value in (-120.0, -110.0, -130.0):
        free.check({"logps/chosen": value})
    assert len(said) == 1 and "fell by" in said[0]


def test_growing_answers_are_said_once() -> None:
    said: list[str] = []
    rails = GuardRails(said.append)
    for tokens in (20.0, 29.0, 31.0, 60.0):
        rails.check({"sample_tokens": tokens})
    assert len(said) == 1 and "from 20 to 31 tokens" in said[0]

"""Guard rails warn once about each problem, with a remedy."""

from finetune.config import build
from finetune.train.guardrails import GuardRails, settings_warnings


def test_a_learning_rate_far_above_the_usual_one_is_warned_about() -> None:
    high = build({"stage": "dpo", "parent": "x", "learning_rate": 2e-4})
    assert len(settings_warnings(high)) == 1
    assert "set --learning-rate 5e-06" in settings_warnings(high)[0]
    assert settings_warnings(build({"stage": "dpo", "parent": "x", "learning_rate": 2e-5})) == []
    full = build({"stage": "dpo", "parent": "x", "method": "full", "learning_rate": 2e-5})
    assert "5e-07" in settings_warnings(full)[0]
    assert settings_warnings(build({"stage": "sft", "learning_rate": 1e-2})) == []


def test_the_usual_rate_is_that_of_the_loss() -> None:
    """ORPO replaces SFT: 8e-5 is its own rate and far above DPO's."""
    assert settings_warnings(build({"stage": "dpo", "loss": "orpo", "learning_rate": 2e-4})) == []
    assert (
        "set --learning-rate 8e-05"
        in settings_warnings(build({"stage": "dpo", "loss": "orpo", "learning_rate": 1e-2}))[0]
    )


def test_dpo_without_sft_is_warned_about() -> None:
    notices = settings_warnings(build({"stage": "dpo", "model": "m", "learning_rate": 5e-6}))
    assert len(notices) == 1 and "--parent" in notices[0]
    assert settings_warnings(build({"stage": "dpo", "model": "m", "loss": "orpo", "learning_rate": 5e-6})) == []


def test_collapse_of_chosen_answers_is_warned_about_once() -> None:
    warnings: list[str] = []
    rails = GuardRails(warnings.append)
    for value in (0.0, -20.0, -29.0):
        rails.check({"kl/chosen": value, "logps/chosen": -50.0 + value})
    assert warnings == []
    rails.check({"kl/chosen": -31.0})
    rails.check({"kl/chosen": -99.0})
    assert len(warnings) == 1
    assert "fell by 31.0 nats" in warnings[0] and "sigmoid+0.2*sft" in warnings[0]


def test_a_batch_of_longer_answers_is_not_a_collapse() -> None:
    """Log-probabilities of batches differ by their lengths; only the same rows, or means, show a collapse."""
    warnings: list[str] = []
    rails = GuardRails(warnings.append)
    for value in (-458.0, -199.0, -563.0, -480.0):
        rails.check({"kl/chosen": -0.5, "logps/chosen": value})
    free = GuardRails(warnings.append)
    for value in (-50.0, -90.0, -55.0, -70.0, -60.0, -95.0, -50.0):
        free.check({"logps/chosen": value})
    assert warnings == []
    for value in (-120.0, -110.0, -130.0):
        free.check({"logps/chosen": value})
    assert len(warnings) == 1 and "fell by" in warnings[0]


def test_sft_answers_may_grow_to_those_of_the_data_but_have_to_end() -> None:
    """Planted fault: DPO's advice about losses, which SFT refuses."""
    warnings: list[str] = []
    rails = GuardRails(warnings.append, stage="sft", answer_tokens=40.0)
    for metrics in ({"sample_tokens": 10.0}, {"sample_tokens": 64.0}, {"final_sample_tokens": 41.0}):
        rails.check(metrics)
    assert warnings == []
    rails.check({"final_sample_tokens": 64.0})
    assert len(warnings) == 1
    assert "sampled answers have 64 tokens, those of the data 40" in warnings[0] and "--loss" not in warnings[0]


def test_growing_answers_are_warned_about_once() -> None:
    warnings: list[str] = []
    rails = GuardRails(warnings.append)
    for tokens in (20.0, 29.0, 31.0, 60.0):
        rails.check({"sample_tokens": tokens})
    assert len(warnings) == 1 and "from 20 to 31 tokens" in warnings[0]

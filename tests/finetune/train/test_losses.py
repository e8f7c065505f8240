"""Every preference loss gives the published numbers, through the trainers that train with it."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from finetune.config import build
from finetune.data.encode import encode_for
from finetune.data.records import Preference, to_task
from finetune.evaluate.score import pair_log_probs
from finetune.loss_names import PAIRED_LOSSES, REFERENCE_FREE_LOSSES, UNPAIRED_LOSSES
from finetune.train.losses import (
    LossSettings,
    PairLogProbs,
    answer_loss,
    apo_zero_unpaired,
    conservative_dpo,
    ipo,
    kto,
    kto_pair,
    kto_reference_point,
    log_odds_ratio,
    orpo,
    preference_loss,
    simpo,
)


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def minus_log_sigma(x: float) -> float:
    return math.log1p(math.exp(-x))


@pytest.fixture(scope="module")
def trainer_for(
    models: dict[str, str], preferences: list[Preference], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Any]]:
    """Give the trainer that a run with the loss named in its settings gets, on a tiny model and two pairs."""
    from finetune.templates.find import find_template
    from finetune.train.complete import complete
    from finetune.train.context import Run
    from finetune.train.load import add_adapter, load_base, load_tokenizer
    from finetune.train.rows import Rows
    from finetune.train.run import build_trainer

    def build_one(loss: str) -> Any:
        config = complete(
            build({"stage": "dpo", "model": models["qwen2"], "device": "cpu", "method": "lora", "batch_size": 2,
                   "loss": loss})
        )  # fmt: skip
        tokenizer = load_tokenizer(config.model)
        template = find_template(config.model)
        records = to_task(preferences[:2], config.task)
        rows, report = encode_for(config, records, template, tokenizer)
        model = add_adapter(load_base(config), config)
        run = Run(config, tmp_path_factory.mktemp("run"), template, tokenizer, lambda line: None)
        trainer, _ = build_trainer(run, model, None, Rows(rows, [], report, None))
        return trainer

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUIRE_HOME", str(tmp_path_factory.mktemp("home")))
        yield build_one


@pytest.fixture(scope="module")
def pair_trainer(trainer_for: Callable[[str], Any]) -> Any:
    """A pair trainer whose losses, beta and reference the tests set."""
    return trainer_for("sigmoid")


@pytest.fixture(scope="module")
def loss_at(pair_trainer: Any) -> Callable[..., float]:
    """Give the loss of a batch in which every answer has the given log-ratio to the reference."""
    import torch

    rows = [pair_trainer.train_dataset[i] for i in range(2)]
    batch = pair_trainer.data_collator(rows)
    pair_trainer.model.eval()
    chosen, rejected = pair_log_probs(pair_trainer.model, rows, pad_token_id=pair_trainer.processing_class.pad_token_id)

    def compute(
        loss: str,
        chosen_ratio: float,
        rejected_ratio: float,
        *,
        beta: float = 0.1,
        smoothing: float = 0.0,
        tokens: int = 0,
    ) -> float:
        from finetune.loss_names import parse_loss

        pair_trainer.weights = parse_loss(loss)
        pair_trainer.loss_settings = LossSettings(beta, smoothing)
        inputs = dict(batch)
        mine, theirs = chosen, rejected
        if tokens:  # keep only the first answer tokens
            mask = batch["completion_mask"]
            inputs["completion_mask"] = mask * (mask.cumsum(dim=1) <= tokens)
            from finetune.evaluate.score import answer_log_probs

            mine, theirs = (
                answer_log_probs(
                    pair_trainer.model,
                    [row["prompt_ids"] for row in rows],
                    [row[side][:tokens] for row in rows],
                    pad_token_id=pair_trainer.processing_class.pad_token_id,
                )
                for side in ("chosen_ids", "rejected_ids")
            )
        inputs["ref_chosen_logps"] = torch.tensor(mine) - chosen_ratio
        inputs["ref_rejected_logps"] = torch.tensor(theirs) - rejected_ratio
        with torch.no_grad():
            return float(pair_trainer._compute_loss(pair_trainer.model, inputs, False))

    return compute


GOLDEN = [
    # beta 0.1, difference of log-ratios 6: +3 for the chosen and -3 for the rejected answer
    ("sigmoid", {}, 0.437488),
    ("hinge", {}, 0.400000),
    ("ipo", {"tokens": 1}, 1.000000),
    ("ipo_sum", {}, 1.000000),
    ("cdpo", {"smoothing": 0.1}, 0.497488),
    ("robust", {"smoothing": 0.1}, 0.362488),
    ("sigmoid_norm", {"tokens": 1}, 0.437488),
    # nca_pair, arXiv:2402.05369 eq. 11 for two answers: -ls(r_w) - (ls(-r_w) + ls(-r_l)) / 2, r = +-0.3
    ("nca_pair", {}, minus_log_sigma(0.3) + 0.5 * minus_log_sigma(-0.3) + 0.5 * minus_log_sigma(0.3)),
    # apo_zero and apo_down, arXiv:2408.06266 eqs. 7 and 8
    ("apo_zero", {}, (1 - sigma(0.3)) + sigma(-0.3)),
    ("apo_down", {}, sigma(0.3) + (1 - sigma(0.6))),
    # exo_pair, arXiv:2402.00856 eq. 16 for two answers, smoothing 0.01
    (
        "exo_pair",
        {"smoothing": 0.01},
        sigma(0.6) * (math.log(sigma(0.6)) - math.log(0.99)) + sigma(-0.6) * (math.log(sigma(-0.6)) - math.log(0.01)),
    ),
    # discopop, arXiv:2406.08414 eq. 5, tau 0.05: a mix of logistic and exponential by sigma(x / tau)
    ("discopop", {}, minus_log_sigma(0.6) * (1 - sigma(12.0)) + math.exp(-0.6) * sigma(12.0)),
    # kto_pair, arXiv:2402.01306 eq. 7: KL of the chosen side clamps to 3, of the rejected side to 0
    ("kto_pair", {}, ((1 - sigma(0.1 * (3 - 0))) + (1 - sigma(0.1 * (3 + 3)))) / 2),
]


@pytest.mark.parametrize(("loss", "options", "expected"), GOLDEN, ids=[row[0] for row in GOLDEN])
def test_a_margin_of_six_gives_the_published_loss(
    loss: str, options: dict[str, Any], expected: float, loss_at: Callable[..., float]
) -> None:
    assert loss_at(loss, 3.0, -3.0, **options) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize(
    ("loss", "expected"), [("sigmoid", 0.693147), ("ipo", 25.0), ("ipo_sum", 25.0), ("hinge", 1.0)]
)
def test_equal_policy_and_reference_give_the_known_first_loss(
    loss: str, expected: float, loss_at: Callable[..., float]
) -> None:
    assert loss_at(loss, 0.0, 0.0) == pytest.approx(expected, abs=2e-4 if expected > 2 else 2e-6)


def test_the_logged_kl_is_k3_of_the_mean_log_ratio_a_token_on_the_data(
    loss_at: Callable[..., float], pair_trainer: Any
) -> None:
    loss_at("sigmoid", 3.0, -2.0)
    rows = [pair_trainer.train_dataset[i] for i in range(2)]
    ratios = [3.0 / len(row["chosen_ids"]) for row in rows] + [-2.0 / len(row["rejected_ids"]) for row in rows]
    logged = {name: values[-1] for name, values in pair_trainer._metrics["eval"].items()}
    assert logged["kl"] == pytest.approx(sum(math.exp(-r) - 1 + r for r in ratios) / 4, abs=1e-6)
    assert (logged["kl/chosen"], logged["kl/rejected"]) == pytest.approx((3.0, -2.0), abs=1e-4)  # nats an answer


def test_ipo_of_the_mean_differs_from_ipo_of_the_sum(loss_at: Callable[..., float]) -> None:
    """Planted fault: the sum where the mean was asked. With more than one token the two differ by far."""
    mean, summed = loss_at("ipo", 3.0, -3.0), loss_at("ipo_sum", 3.0, -3.0)
    assert summed == pytest.approx(1.0, abs=1e-4)
    assert mean > 10  # answers of six tokens and more: (about 1 - 5)^2


@pytest.mark.parametrize("loss", ["ipo", "ipo_sum"])
def test_the_ipo_that_the_settings_name_is_the_one_that_trains(loss: str, trainer_for: Callable[[str], Any]) -> None:
    """Planted fault: the sum where the mean was asked, anywhere between the settings and the trainer."""
    import torch

    trainer = trainer_for(loss)
    rows = [trainer.train_dataset[i] for i in range(2)]
    trainer.model.eval()
    chosen, rejected = pair_log_probs(trainer.model, rows, pad_token_id=trainer.processing_class.pad_token_id)
    inputs = dict(trainer.data_collator(rows))
    inputs["ref_chosen_logps"], inputs["ref_rejected_logps"] = torch.tensor(chosen) - 3, torch.tensor(rejected) + 3
    with torch.no_grad():
        found = float(trainer._compute_loss(trainer.model, inputs, False))
    # Azar et al., arXiv:2310.12036, eq. 17, beta 0.1: (h - 5)^2; the mean divides each log-ratio by its answer's tokens
    lengths = [(len(r["chosen_ids"]), len(r["rejected_ids"])) if loss == "ipo" else (1, 1) for r in rows]
    expected = sum((3 / c + 3 / r - 5) ** 2 for c, r in lengths) / len(rows)
    assert found == pytest.approx(expected, abs=2e-3)


def test_a_sum_of_losses_is_weighted(loss_at: Callable[..., float]) -> None:
    plain = loss_at("sigmoid", 3.0, -3.0)
    likelihood = loss_at("sigmoid+1*sft", 3.0, -3.0) - plain
    assert likelihood > 0
    assert loss_at("sigmoid+0.2*sft", 3.0, -3.0) == pytest.approx(plain + 0.2 * likelihood, abs=1e-4)
    assert loss_at("0.5*sigmoid+2*cdpo", 3.0, -3.0, smoothing=0.1) == pytest.approx(
        0.5 * 0.437488 + 2 * 0.497488, abs=1e-4
    )


@pytest.mark.parametrize(("loss", "slope"), [("sigmoid", -0.035434), ("hinge", -0.1), ("ipo_sum", 2.0)])
def test_the_slope_at_six_is_the_published_one(loss: str, slope: float, loss_at: Callable[..., float]) -> None:
    step = 0.05
    up, down = loss_at(loss, 3.0 + step, -3.0), loss_at(loss, 3.0 - step, -3.0)
    assert (up - down) / (2 * step) == pytest.approx(slope, rel=2e-3)


@pytest.mark.parametrize("loss", ["cdpo", "ipo_sum", "kto_pair"])
def test_gradients_of_our_losses_equal_finite_differences(loss: str) -> None:
    import torch

    chosen = torch.tensor([1.5, -0.5, 2.0], dtype=torch.float64, requires_grad=True)
    rejected = torch.tensor([-1.0, 0.3, -2.0], dtype=torch.float64, requires_grad=True)

    start = chosen.detach().clone(), rejected.detach().clone()

    def function(a: Any, b: Any) -> Any:
        if loss == "cdpo":
            return conservative_dpo(a, b, beta=0.1, smoothing=0.2)
        if loss == "ipo_sum":
            return ipo(a, b, beta=0.1)
        return _kto_with_fixed_kl(a, b, *start)

    assert torch.autograd.gradcheck(function, (chosen, rejected))
    if loss == "kto_pair":  # the function with moving estimates has the gradient of the one with fixed ones
        ours = torch.autograd.grad(kto_pair(chosen, rejected, beta=0.1).sum(), (chosen, rejected))
        fixed = torch.autograd.grad(function(chosen, rejected).sum(), (chosen, rejected))
        assert all(torch.equal(a, b) for a, b in zip(ours, fixed, strict=True))


def _kto_with_fixed_kl(a: Any, b: Any, a0: Any, b0: Any) -> Any:
    """kto_pair whose KL estimates are held where they were: they carry no gradient, so differences must not move them."""
    import torch

    kl_chosen, kl_rejected = a0.detach().mean().clamp(min=0), b0.detach().mean().clamp(min=0)
    return ((1 - torch.sigmoid(0.1 * (a - kl_rejected))) + (1 - torch.sigmoid(0.1 * (kl_chosen - b)))) / 2


def test_the_trainer_descends_along_the_finite_difference_of_its_loss(pair_trainer: Any) -> None:
    """Move one adapter along its gradient: the loss must fall by step times the gradient's square."""
    import torch

    rows = [pair_trainer.train_dataset[i] for i in range(2)]
    batch = pair_trainer.data_collator(rows)
    pair_trainer.weights, pair_trainer.loss_settings = {"sigmoid": 1.0}, LossSettings(beta=0.5)
    model = pair_trainer.model
    model.eval()
    parameter = next(p for n, p in model.named_parameters() if "lora_B" in n and "q_proj" in n)
    model.zero_grad()
    pair_trainer._compute_loss(model, dict(batch), False).backward()
    gradient = parameter.grad.clone()
    step = 1e-2 / float(gradient.norm())

    def moved(scale: float) -> float:
        with torch.no_grad():
            parameter.add_(gradient * scale)
            value = float(pair_trainer._compute_loss(model, dict(batch), False))
            parameter.sub_(gradient * scale)
        return value

    slope = (moved(step) - moved(-step)) / (2 * step)
    assert slope == pytest.approx(float((gradient**2).sum()), rel=0.02)
    model.zero_grad()


def test_losses_of_single_answers_give_the_published_values() -> None:
    import torch

    ratios, wanted = torch.tensor([4.0, -2.0, 4.0, -2.0]), torch.tensor([True, False, False, True])
    assert apo_zero_unpaired(ratios, wanted, beta=0.1).tolist() == pytest.approx(
        [0.401312, 0.450166, 0.598688, 0.549834], abs=1e-6
    )
    assert kto(ratios, wanted, torch.tensor(0.0), beta=0.1).tolist() == pytest.approx(
        [0.401312, 0.450166, 0.598688, 0.549834], abs=1e-6
    )
    at_one = [1 - sigma(0.3), 1 - sigma(0.3), 1 - sigma(-0.3), 1 - sigma(-0.3)]  # eqs. 7 and 8 with z0 = 1
    assert kto(ratios, wanted, torch.tensor(1.0), beta=0.1).tolist() == pytest.approx(at_one, abs=1e-6)
    assert float(kto_reference_point(torch.tensor([3.0, -1.0]))) == 1.0
    assert float(kto_reference_point(torch.tensor([1.0, -3.0]))) == 0.0
    settings = LossSettings(0.1, desirable_weight=2.0, undesirable_weight=0.5)
    weighted = (2 * 0.401312 + 0.5 * 0.450166) / 2
    assert float(answer_loss("kto", ratios[:2], wanted[:2], torch.tensor(0.0), settings)) == pytest.approx(
        weighted, abs=1e-6
    )


@pytest.mark.parametrize("loss", ["kto", "apo_zero_unpaired"])
def test_a_loss_of_single_answers_and_its_metrics_are_those_of_trl(
    loss: str, trainer_for: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    import trl

    trainer = trainer_for(loss)
    batch = dict(trainer.data_collator([trainer.train_dataset[i] for i in range(4)]))
    batch["ref_logps"] = torch.tensor([-30.0, -41.0, -55.0, -40.0])
    if loss == "kto":
        batch["ref_KL_logps"] = torch.tensor([-90.0, -95.0, -80.0, -120.0])
    trainer.precompute_ref_logps = True
    trainer.beta, trainer.desirable_weight, trainer.undesirable_weight = 0.1, 1.5, 1.0
    trainer.loss_settings = LossSettings(0.1, desirable_weight=1.5)
    trainer.model.eval()
    found = []
    for compute in (type(trainer)._compute_loss, trl.KTOTrainer._compute_loss):
        trainer._metrics["eval"].clear()
        with torch.no_grad():
            value = float(compute(trainer, trainer.model, batch, False))
        found.append((value, {name: values[-1] for name, values in trainer._metrics["eval"].items()}))
    (ours, mine), (theirs, reference) = found
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert mine.pop("kl/reference_point") == pytest.approx(reference.pop("kl"), abs=1e-3)
    assert (reference.get("kl", 0.0) == 0.0) and mine.pop("kl") > 0 and mine.pop("padding") > 0
    assert mine == pytest.approx(reference, abs=1e-4)


def test_orpo_and_simpo_give_the_published_values() -> None:
    import torch

    chosen, rejected = torch.tensor([-1.0]), torch.tensor([-1.5])
    assert float(orpo(chosen, rejected, beta=1.0) + chosen) == pytest.approx(0.401135, abs=1e-6)  # the odds term
    assert float(orpo(chosen, rejected, beta=0.0)) == 1.0  # the likelihood term
    assert float(simpo(chosen, rejected, beta=2.0, gamma=0.5)) == pytest.approx(0.474077, abs=1e-6)


def test_cpo_adds_the_likelihood_of_the_chosen_tokens() -> None:
    import torch

    values = (-6.0, -4.0), (-9.0, -5.0), (3.0, 2.0), (3.0, 5.0)
    chosen, rejected, tokens, others = (torch.tensor(pair) for pair in values)
    pairs = PairLogProbs(chosen, rejected, tokens, others, torch.zeros(2), torch.zeros(2))
    ranking = (minus_log_sigma(0.1 * 3) + minus_log_sigma(0.1 * 1)) / 2
    assert float(preference_loss({"cpo": 1.0}, pairs, LossSettings())) == pytest.approx(ranking + 10 / 5, abs=1e-6)


def test_an_answer_that_the_model_is_certain_of_has_finite_odds() -> None:
    import torch

    chosen = torch.tensor([0.0], requires_grad=True)
    orpo(chosen, torch.tensor([-1.0]), beta=0.1).backward()
    assert bool(torch.isfinite(log_odds_ratio(chosen, torch.tensor([-1.0])))) and bool(torch.isfinite(chosen.grad))


def test_every_loss_is_a_function_and_none_comes_from_an_experimental_module() -> None:
    import torch

    values = torch.tensor([-1.0, -3.0])
    pairs = PairLogProbs(values, values - 1, torch.tensor([2, 3]), torch.tensor([4, 1]), values - 0.5, values - 0.5)
    for name in PAIRED_LOSSES + REFERENCE_FREE_LOSSES:
        assert math.isfinite(float(preference_loss({name: 1.0}, pairs, LossSettings(label_smoothing=0.1))))
    wanted = torch.tensor([True, False])
    for name in UNPAIRED_LOSSES:
        assert math.isfinite(float(answer_loss(name, values, wanted, torch.tensor(0.5), LossSettings())))
    from finetune.train import trainers

    bases = {
        base.__module__
        for trainer in (trainers.SFTTrainer, trainers.DPOTrainer, trainers.KTOTrainer)
        for base in trainer.__mro__
    }
    assert not [module for module in bases if "experimental" in module]


@pytest.mark.parametrize("loss", ["sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "apo_zero", "apo_down",
                                  "discopop", "sft", "sigmoid_norm"])  # fmt: skip
def test_a_loss_that_trl_has_too_is_the_same_there(loss: str, pair_trainer: Any) -> None:
    import torch
    import trl

    rows = [pair_trainer.train_dataset[i] for i in range(2)]
    batch = dict(pair_trainer.data_collator(rows))
    batch |= {"ref_chosen_logps": torch.tensor([-30.0, -41.0]), "ref_rejected_logps": torch.tensor([-55.0, -40.0])}
    pair_trainer.weights, pair_trainer.loss_settings = {loss: 1.0}, LossSettings(0.1, 0.1)
    pair_trainer.loss_types, pair_trainer.loss_weights, pair_trainer.label_smoothing = [loss], [1.0], 0.1
    pair_trainer.beta, pair_trainer.precompute_ref_logps = 0.1, True
    pair_trainer.model.eval()
    with torch.no_grad():
        ours = float(pair_trainer._compute_loss(pair_trainer.model, batch, False))
        theirs = float(trl.DPOTrainer._compute_loss(pair_trainer, pair_trainer.model, batch, False))
    pair_trainer.precompute_ref_logps = False
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_log_probs_without_a_mask_are_bit_equal_on_rows_that_are_padded_on_the_right(pair_trainer: Any) -> None:
    import torch

    batch = pair_trainer.data_collator([pair_trainer.train_dataset[i] for i in range(2)])
    assert int((batch["attention_mask"] == 0).sum()) > 0
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    seen: list[dict[str, Any]] = []
    handle = pair_trainer.model.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs), with_kwargs=True)
    with torch.no_grad():
        masked, plain = (
            pair_trainer.model(input_ids=batch["input_ids"], labels=labels, fused_lm_head=True, **extra).log_probs
            for extra in ({"attention_mask": batch["attention_mask"]}, {})
        )
        seen.clear()
        pair_trainer._compute_loss(pair_trainer.model, dict(batch), False)
    handle.remove()
    assert torch.equal(masked, plain)
    assert [call.get("attention_mask") for call in seen] == [None, None]  # policy and reference

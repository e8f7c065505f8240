"""TRL's trainers with our losses, metrics and loss mask, and without model cards.

Imported only when training starts, because it loads torch and TRL.
"""

from collections.abc import Iterator
from typing import Any

import torch
import trl
from huggingface_hub import constants
from transformers.trainer_pt_utils import LengthGroupedSampler

from finetune.train.losses import (
    LossSettings,
    PairLogProbs,
    answer_loss,
    kto_reference_point,
    log_odds_ratio,
    preference_loss,
)
from finetune.train.rows import LENGTH

# TRL's trainers report each run to the hub from a thread; the environment variable against it was read before this line
constants.HF_HUB_DISABLE_TELEMETRY = True


class _NoModelCard:
    """Skips TRL's model card, which asks the hub for the author of the base."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run's manifest and report hold what a card would."""


class _LengthGroups(LengthGroupedSampler):  # type: ignore[misc]
    """Batches of rows with similar length, in an order that depends on seed and epoch alone, so that a resume repeats it."""

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        super().__init__(batch_size, lengths=lengths, generator=torch.Generator())
        self._seed, self._epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch; called before each one."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(self._seed + self._epoch)
        return iter(super().__iter__())


class _GroupsByLength:
    """Samples by the column `length` of the training rows, if there is one.

    transformers' own `group_by_length` looks for the column after it has removed the unused ones.
    """

    args: Any
    train_dataset: Any

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if LENGTH not in self.train_dataset.column_names:
            return super()._get_train_sampler(train_dataset)  # type: ignore[misc]
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return _LengthGroups(batch, list(self.train_dataset[LENGTH]), self.args.data_seed)


class _GathersMetrics:
    """Records the metrics of a batch; all of them are gathered at once, since each gathering waits for the device."""

    model: Any
    accelerator: Any
    _metrics: dict[str, Any]
    _total_train_tokens: int

    def _record_means(self, values: dict[str, Any], attention_mask: Any) -> dict[str, float]:
        """Record and return the mean of each tensor over all processes, if it has values; count tokens and padding."""
        mode = "train" if self.model.training else "eval"
        values = {**values, "padding": attention_mask == 0}
        sums = torch.stack([value.float().sum() for value in values.values()])
        counts = torch.tensor([value.numel() for value in values.values()], device=sums.device)
        totals = self.accelerator.gather(torch.stack([sums, counts], dim=1)[None]).sum(dim=0).tolist()
        means = {name: total / count for name, (total, count) in zip(values, totals, strict=True) if count}
        for name, mean in means.items():
            self._metrics[mode][name].append(mean)
        if mode == "train":
            padded, size = totals[-1]
            self._total_train_tokens += round(size - padded)
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]
        return means


class SFTTrainer(_NoModelCard, _GroupsByLength, trl.SFTTrainer):  # type: ignore[misc]
    """TRL's SFT trainer on rows that contain their labels."""

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Return TRL's loss, and log the share of padding in padded batches."""
        if "attention_mask" in inputs:
            padding = float((inputs["attention_mask"] == 0).float().mean())
            self._metrics["train" if self.model.training else "eval"]["padding"].append(padding)
        return super().compute_loss(model, inputs, *args, **kwargs)


class DPOTrainer(_NoModelCard, _GroupsByLength, _GathersMetrics, trl.DPOTrainer):  # type: ignore[misc]
    """TRL's DPO trainer on encoded pairs, with the losses of `losses.py`: log-probabilities are computed once a batch.

    The rows are padded on the right, so causal attention keeps every real token from padding without a mask, and the
    attention kernels that take no mask can be used. `reference_free` losses have no reference.
    """

    def __init__(
        self, *args: Any, weights: dict[str, float], settings: LossSettings, reference_free: bool, **kwargs: Any
    ) -> None:
        self.weights, self.loss_settings, self.reference_free = weights, settings, reference_free
        super().__init__(*args, **kwargs)

    def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
        return dataset  # our template has encoded the rows

    def _precompute_ref_logps(self, dataset: Any, *args: Any) -> Any:
        return dataset  # preference.py does, with a cache

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        """Return the reference's log-probabilities of chosen and rejected answers, each of shape [pairs]."""
        return super().compute_ref_log_probs(model, {k: v for k, v in inputs.items() if k != "attention_mask"})

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        mask = inputs["completion_mask"]
        labels = inputs["input_ids"].masked_fill(mask == 0, -100)
        outputs = model(input_ids=inputs["input_ids"], labels=labels, fused_lm_head=True, use_cache=False)
        chosen, rejected = outputs.log_probs.float().sum(dim=1).chunk(2)  # zero outside the answers
        if self.reference_free:
            reference = torch.zeros_like(chosen), torch.zeros_like(rejected)
        elif "ref_chosen_logps" in inputs:
            reference = inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
        else:
            reference = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
        tokens, others = mask[:, 1:].sum(dim=1).clamp(min=1).chunk(2)
        pairs = PairLogProbs(chosen, rejected, tokens, others, *reference)
        loss = preference_loss(self.weights, pairs, self.loss_settings)
        with torch.no_grad():
            self._record(inputs, outputs, pairs)
        return (loss, outputs) if return_outputs else loss

    def _record(self, inputs: dict[str, Any], outputs: Any, pairs: PairLogProbs) -> None:
        """Record the metrics of a batch.

        `kl` is an estimate on the data, not on the policy's samples: k3 of Schulman, "Approximating KL divergence" (2020),
        of each answer's mean log-ratio a token, which is never negative.
        """
        mask = inputs["completion_mask"][:, 1:].bool()
        chosen, rejected = pairs.ratios
        good, bad = pairs.means if {"orpo", "simpo"} & self.weights.keys() else pairs.ratios
        good, bad = self.loss_settings.beta * good, self.loss_settings.beta * bad
        logits, answers = outputs.mean_logits.chunk(2), mask.chunk(2)
        values = {
            "entropy": outputs.entropy[mask],
            "mean_token_accuracy": outputs.is_top1.chunk(2)[0][answers[0]],
            "logits/chosen": logits[0][answers[0]],
            "logits/rejected": logits[1][answers[1]],
            "rewards/chosen": good,
            "rewards/rejected": bad,
            "rewards/accuracies": good > bad,
            "rewards/margins": good - bad,
            "logps/chosen": pairs.chosen,
            "logps/rejected": pairs.rejected,
            "lengths/chosen": pairs.chosen_tokens,
            "lengths/rejected": pairs.rejected_tokens,
        }
        if self.reference_free:
            values["nll_loss"] = -outputs.log_probs.chunk(2)[0][answers[0]]
            if "orpo" in self.weights:
                odds = log_odds_ratio(*pairs.means)
                values |= {"log_odds_chosen": odds, "log_odds_ratio": torch.nn.functional.logsigmoid(odds)}
        else:
            kl = _k3(torch.cat(pairs.mean_ratios))
            values |= {"kl/chosen": chosen, "kl/rejected": rejected, "kl": kl}
        self._record_means(values, inputs["attention_mask"])


def _k3(ratios: Any) -> Any:
    """Return the estimate k3 of the KL from log-ratios: exp(-ratio) - 1 + ratio, which is never negative."""
    return torch.exp(-ratios) - 1 + ratios


class KTOTrainer(_NoModelCard, _GathersMetrics, trl.KTOTrainer):  # type: ignore[misc]
    """TRL's KTO trainer on encoded answers, with the losses of `losses.py`.

    `data/encode.py` adds the mismatched answers of the KL estimate.
    """

    def __init__(self, *args: Any, settings: LossSettings, **kwargs: Any) -> None:
        self.loss_settings = settings
        super().__init__(*args, **kwargs)

    def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
        return dataset

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        mismatched = self._compute_kl_logps(model, inputs)  # None for a loss without a reference point
        mask = inputs["completion_mask"]
        labels = inputs["input_ids"].masked_fill(mask == 0, -100)
        outputs = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            labels=labels,
            fused_lm_head=True,
            use_cache=False,
        )
        log_probs = outputs.log_probs.sum(dim=1)  # zero outside the answers
        if self.precompute_ref_logps:
            reference, ref_mismatched = inputs["ref_logps"], inputs.get("ref_KL_logps")
        else:
            reference, ref_mismatched = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
        ratios, wanted = log_probs - reference, inputs["label"].bool()
        point = ratios.new_zeros(())
        if mismatched is not None:
            point = kto_reference_point(self.accelerator.gather_for_metrics(mismatched - ref_mismatched))
        loss = answer_loss(self.loss_type, ratios, wanted, point, self.loss_settings)
        with torch.no_grad():
            self._record(inputs, outputs, log_probs, ratios, point)
        return (loss, outputs) if return_outputs else loss

    def _record(self, inputs: dict[str, Any], outputs: Any, log_probs: Any, ratios: Any, point: Any) -> None:
        """Record the metrics of a batch; `kl` is that of `DPOTrainer`, and `kl/reference_point` the z0 of KTO's loss."""
        mask, wanted = inputs["completion_mask"][:, 1:].bool(), inputs["label"].bool()
        values = {
            "entropy": outputs.entropy[mask],
            "kl": _k3(ratios / mask.sum(dim=1).clamp(min=1)),
            "kl/reference_point": point[None],
        }
        for name, rows in (("chosen", wanted), ("rejected", ~wanted)):
            values |= {
                f"logits/{name}": outputs.mean_logits[rows][mask[rows]],
                f"rewards/{name}": self.loss_settings.beta * ratios[rows],
                f"logps/{name}": log_probs[rows],
            }
        means = self._record_means(values, inputs["attention_mask"])
        if {"rewards/chosen", "rewards/rejected"} <= means.keys():
            margin = means["rewards/chosen"] - means["rewards/rejected"]
            self._metrics["train" if self.model.training else "eval"]["rewards/margins"].append(margin)

"""TRL's trainers with more losses and metrics, our loss mask, and no model cards.

Imported only when training starts, because it loads torch and TRL.
"""

import os

# ORPO and CPO are experimental in TRL; our tests pin their values
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

from collections.abc import Iterator
from typing import Any

import torch
import trl
from huggingface_hub import constants
from transformers.trainer_pt_utils import LengthGroupedSampler
from trl.experimental import cpo, orpo

from finetune.train.losses import NOT_IN_TRL, named_loss
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
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return _LengthGroups(batch, list(self.train_dataset[LENGTH]), self.args.data_seed)


class SFTTrainer(_NoModelCard, _GroupsByLength, trl.SFTTrainer):  # type: ignore[misc]
    """TRL's SFT trainer on rows that contain their labels."""


class _KeepLogProbs:
    """Calls a model and keeps the log-probabilities of the first call."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.log_probs: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        outputs = self.model(*args, **kwargs)
        if self.log_probs is None:
            self.log_probs = outputs.log_probs
        return outputs


class DPOTrainer(_NoModelCard, _GroupsByLength, trl.DPOTrainer):  # type: ignore[misc]
    """TRL's DPO trainer on encoded pairs, with cdpo, ipo_sum and kto_pair in addition to its own losses.

    The reference's log-probabilities are computed here, once a batch, so that the loss, the KL to the reference and the
    rewards use the same numbers.
    """

    def __init__(self, *args: Any, weights: dict[str, float], **kwargs: Any) -> None:
        self._weights = weights
        super().__init__(*args, **kwargs)
        self.precompute_ref_logps = True  # _compute_loss adds the reference's values to each batch

    def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
        return dataset  # our template has encoded the rows

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        if "ref_chosen_logps" not in inputs:
            chosen, rejected = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
            inputs = {**inputs, "ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
        in_trl = {name: weight for name, weight in self._weights.items() if name not in NOT_IN_TRL}
        self.loss_types, self.loss_weights = list(in_trl), list(in_trl.values())
        keeper = _KeepLogProbs(model)
        result = super()._compute_loss(keeper, inputs, return_outputs)
        loss, outputs = result if return_outputs else (result, None)
        mask = inputs["completion_mask"][:, 1:]
        sums = keeper.log_probs[:, -mask.size(1) :].sum(dim=1)  # zero outside the answers
        reference = torch.cat([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]]).to(sums.device)
        chosen, rejected = (sums - reference).chunk(2)
        for name, weight in self._weights.items():
            if name in NOT_IN_TRL:
                added = named_loss(name, chosen, rejected, beta=self.beta, smoothing=self.label_smoothing)
                loss = loss + weight * added.mean()
        self._record_metrics(chosen.detach(), rejected.detach(), mask)
        return (loss, outputs) if return_outputs else loss

    def _record_metrics(self, chosen: Any, rejected: Any, mask: Any) -> None:
        """Record the KL to the reference on the data (nats an answer) and the lengths of the answers in tokens."""
        mode = "train" if self.model.training else "eval"
        lengths = mask.sum(dim=1).float().chunk(2)
        gather = self.accelerator.gather
        for name, value in (
            ("kl/chosen", chosen),
            ("kl/rejected", rejected),
            ("lengths/chosen", lengths[0]),
            ("lengths/rejected", lengths[1]),
        ):
            self._metrics[mode][name].append(gather(value).mean().item())
        # k3 of Schulman, "Approximating KL divergence" (2020): never negative, unlike the mean log-ratio; per token
        ratios = torch.cat([chosen, rejected]) / torch.cat(lengths).clamp(min=1)
        self._metrics[mode]["kl"].append(gather(torch.exp(-ratios) - 1 + ratios).mean().item())


class KTOTrainer(_NoModelCard, trl.KTOTrainer):  # type: ignore[misc]
    """TRL's KTO trainer on encoded answers; `data/encode.py` adds the mismatched answers of its KL estimate."""

    def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
        return dataset


class _Pretokenized:
    """Passes our template's tokens to ORPO and CPO, which would tokenize by themselves."""

    max_length: int

    def tokenize_row(self, feature: dict[str, Any], model: Any = None) -> dict[str, Any]:
        """Return one encoded pair in the form that these trainers expect."""
        prompt = feature["prompt_ids"]
        row: dict[str, Any] = {"prompt_input_ids": prompt, "prompt_attention_mask": [1] * len(prompt)}
        masked = min(len(prompt), self.max_length)
        for side in ("chosen", "rejected"):
            ids = (prompt + feature[f"{side}_ids"])[: self.max_length]
            row[f"{side}_input_ids"] = ids
            row[f"{side}_attention_mask"] = [1] * len(ids)
            row[f"{side}_labels"] = [-100] * masked + ids[masked:]
        return row


class _CountsTokens:
    """Logs `num_tokens` as TRL's other trainers do: the tokens trained on in this process's part of a run."""

    accelerator: Any
    model: Any
    _tokens = 0

    def concatenated_forward(self, model: Any, batch: dict[str, Any]) -> tuple[Any, ...]:
        """Count the tokens of a batch that is trained on, in all processes."""
        if self.model.training:
            count = batch["chosen_attention_mask"].sum() + batch["rejected_attention_mask"].sum()
            self._tokens += int(self.accelerator.gather(count.to(self.accelerator.device)).sum())
        found: tuple[Any, ...] = super().concatenated_forward(model, batch)  # type: ignore[misc]
        return found

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the count to a line about training."""
        if "loss" in logs:
            logs["num_tokens"] = self._tokens
        super().log(logs, start_time)  # type: ignore[misc]


class ORPOTrainer(_NoModelCard, _GroupsByLength, _CountsTokens, _Pretokenized, orpo.ORPOTrainer):  # type: ignore[misc]
    """TRL's ORPO trainer, with its likelihood term on the answer alone; TRL also counts the prompt's tokens."""

    def concatenated_forward(self, model: Any, batch: dict[str, Any]) -> tuple[Any, ...]:
        """Return TRL's values, with the likelihood term replaced by that of the chosen answer's tokens."""
        found = super().concatenated_forward(model, batch)
        return (*found[:4], -found[0].mean(), *found[5:])


class CPOTrainer(_NoModelCard, _GroupsByLength, _CountsTokens, _Pretokenized, cpo.CPOTrainer):  # type: ignore[misc]
    """TRL's trainer of CPO and SimPO."""

"""TRL's trainers with what they lack: losses of ours, our loss mask, KL and lengths in the metrics, no model cards.

Imported only where training starts: it loads torch and TRL.
"""

import os

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # ORPO and CPO are experimental there, pinned by our tests

from typing import Any

import torch
from huggingface_hub import constants
from trl import DPOTrainer, KTOTrainer, SFTTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

from finetune.train.losses import OURS, our_loss

# TRL's trainers report each run to the hub from a thread; the variable that forbids it is read before we are asked
constants.HF_HUB_DISABLE_TELEMETRY = True


class _Plain:
    """Saves checkpoints without TRL's model card, which asks the hub who wrote the base."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing: the run's manifest and report say what a card would."""


class SupervisedTrainer(_Plain, SFTTrainer):  # type: ignore[misc]
    """TRL's SFT trainer on rows that carry their labels."""


class _Recorder:
    """Calls a model and keeps the log-probabilities of its first answer."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.log_probs: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        outputs = self.model(*args, **kwargs)
        if self.log_probs is None:
            self.log_probs = outputs.log_probs
        return outputs


class PairTrainer(_Plain, DPOTrainer):  # type: ignore[misc]
    """TRL's DPO trainer on encoded pairs, with cdpo, ipo_sum and kto_pair besides its own losses.

    The reference's log-probabilities are taken once a batch, here, so that the loss, the KL to the reference and the
    rewards all speak of the same numbers.
    """

    def __init__(self, *args: Any, weights: dict[str, float], **kwargs: Any) -> None:
        self._weights = weights
        super().__init__(*args, **kwargs)
        self.precompute_ref_logps = True  # batches always carry the reference's values, see _compute_loss

    def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
        return dataset  # rows are encoded by our template already

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        if "ref_chosen_logps" not in inputs:
            chosen, rejected = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
            inputs = {**inputs, "ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
        theirs = {name: weight for name, weight in self._weights.items() if name not in OURS}
        self.loss_types, self.loss_weights = list(theirs), list(theirs.values())
        recorder = _Recorder(model)
        answer = super()._compute_loss(recorder, inputs, return_outputs)
        loss, outputs = answer if return_outputs else (answer, None)
        mask = inputs["completion_mask"][:, 1:]
        sums = recorder.log_probs[:, -mask.size(1) :].sum(dim=1)  # zero outside the answers
        reference = torch.cat([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]]).to(sums.device)
        chosen, rejected = (sums - reference).chunk(2)
        for name, weight in self._weights.items():
            if name in OURS:
                ours = our_loss(name, chosen, rejected, beta=self.beta, smoothing=self.label_smoothing)
                loss = loss + weight * ours.mean()
        self._note(chosen.detach(), rejected.detach(), mask)
        return (loss, outputs) if return_outputs else loss

    def _note(self, chosen: Any, rejected: Any, mask: Any) -> None:
        """Keep the KL to the reference on the data (nats an answer) and the answers' lengths in tokens."""
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


class LabelTrainer(_Plain, KTOTrainer):  # type: ignore[misc]
    """TRL's KTO trainer on encoded answers; mismatched answers for its KL estimate are added in `rows.py`."""

    def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
        return dataset


class _Encoded:
    """Gives ORPO and CPO the tokens that our template made instead of their own."""

    max_length: int

    def tokenize_row(self, feature: dict[str, Any], model: Any = None) -> dict[str, Any]:
        """Lay out one encoded pair as these trainers expect it."""
        row: dict[str, Any] = {
            "prompt_input_ids": feature["prompt_ids"],
            "prompt_attention_mask": [1] * len(feature["prompt_ids"]),
        }
        for side in ("chosen", "rejected"):
            ids = (feature["prompt_ids"] + feature[f"{side}_ids"])[: self.max_length]
            cut = min(len(feature["prompt_ids"]), self.max_length)
            row[f"{side}_input_ids"] = ids
            row[f"{side}_attention_mask"] = [1] * len(ids)
            row[f"{side}_labels"] = [-100] * cut + ids[cut:]
        return row


class OddsTrainer(_Plain, _Encoded, ORPOTrainer):  # type: ignore[misc]
    """TRL's ORPO trainer on our tokens, its likelihood term on the answer alone: TRL's counts the prompt's tokens too."""

    def concatenated_forward(self, model: Any, batch: dict[str, Any]) -> tuple[Any, ...]:
        """Run both answers and put the mean log-probability of the chosen answer's tokens in place of TRL's term."""
        found = super().concatenated_forward(model, batch)
        return (*found[:4], -found[0].mean(), *found[5:])


class ContrastTrainer(_Plain, _Encoded, CPOTrainer):  # type: ignore[misc]
    """TRL's CPO and SimPO trainer on our tokens."""

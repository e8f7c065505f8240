"""Scores answers by a model's log-probabilities: implicit rewards, margin and accuracy of pairs under any run.

Log-probabilities here come from plain logits, apart from the trainer's fused head, so that each checks the other.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.data.encode import EncodingReport, TokenRow, encode_pairs
from finetune.data.records import Record
from finetune.runs.manifest import find_run, read_manifest
from finetune.train.load import REFERENCE, Loaded, computing, load_run


@dataclass(frozen=True, slots=True)
class Scores:
    """Implicit rewards (beta times log-ratio) of each pair, and what they come to."""

    chosen: list[float]
    rejected: list[float]
    report: EncodingReport

    @property
    def accuracy(self) -> float:
        """Give the share of pairs whose chosen answer has the higher reward."""
        return sum(c > r for c, r in zip(self.chosen, self.rejected, strict=True)) / len(self.chosen)

    @property
    def margin(self) -> float:
        """Give the mean difference of rewards."""
        return sum(c - r for c, r in zip(self.chosen, self.rejected, strict=True)) / len(self.chosen)

    def to_dict(self) -> dict[str, Any]:
        """Give the scores as `quire finetune score --json` prints them."""
        return {
            "pairs": len(self.chosen),
            "accuracy": self.accuracy,
            "margin": self.margin,
            "rewards_chosen": sum(self.chosen) / len(self.chosen),
            "rewards_rejected": sum(self.rejected) / len(self.rejected),
            "rewards": [{"chosen": c, "rejected": r} for c, r in zip(self.chosen, self.rejected, strict=True)],
            "rows": self.report.to_dict(),
        }


def answer_log_probs(
    model: Any,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    *,
    pad_token_id: int,
    batch_size: int = 4,
    padding_side: str = "right",
) -> list[float]:
    """Give log p(answer | prompt) of each pair of id lists, summed over the answer's tokens, pads never counted."""
    import torch

    device = next(model.parameters()).device
    found: list[float] = []
    for start in range(0, len(prompts), batch_size):
        rows = [
            (list(p), list(a))
            for p, a in zip(prompts[start : start + batch_size], answers[start : start + batch_size], strict=True)
        ]
        width = max(len(p) + len(a) for p, a in rows)
        ids, attention, counted = [], [], []
        for prompt, reply in rows:
            pad = width - len(prompt) - len(reply)
            left, right = (pad, 0) if padding_side == "left" else (0, pad)
            ids.append([pad_token_id] * left + prompt + reply + [pad_token_id] * right)
            attention.append([0] * left + [1] * (len(prompt) + len(reply)) + [0] * right)
            counted.append([0] * (left + len(prompt)) + [1] * len(reply) + [0] * right)
        mask = torch.tensor(attention, device=device)
        tokens = torch.tensor(ids, device=device)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        with torch.no_grad(), computing(model):
            logits = model(input_ids=tokens, attention_mask=mask, position_ids=positions, use_cache=False).logits
        # position t predicts token t + 1
        log_probs = logits[:, :-1].float().log_softmax(dim=-1).gather(2, tokens[:, 1:, None]).squeeze(2)
        found += (log_probs * torch.tensor(counted, device=device)[:, 1:]).sum(dim=1).tolist()
    return found


def pair_log_probs(
    model: Any, rows: Sequence[TokenRow], *, pad_token_id: int, batch_size: int = 4
) -> tuple[list[float], list[float]]:
    """Give the log-probabilities of the chosen and of the rejected answers of encoded pairs."""
    prompts = [row["prompt_ids"] for row in rows]
    chosen = answer_log_probs(
        model, prompts, [row["chosen_ids"] for row in rows], pad_token_id=pad_token_id, batch_size=batch_size
    )
    rejected = answer_log_probs(
        model, prompts, [row["rejected_ids"] for row in rows], pad_token_id=pad_token_id, batch_size=batch_size
    )
    return chosen, rejected


def reference_of(run: str | Path, loaded: Loaded) -> AbstractContextManager[Any]:
    """Give the context in which a run's model is its own reference: the parent's adapter, or none."""
    manifest = read_manifest(run)
    if manifest.reference == "parent" and manifest.parent:
        parent = find_run(manifest.parent)
        loaded.model.load_adapter(str(parent / read_manifest(parent).adapter), adapter_name=REFERENCE)
        return _adapter(loaded.model, REFERENCE)
    return loaded.model.disable_adapter() if hasattr(loaded.model, "disable_adapter") else nullcontext()


class _adapter:
    """Uses another adapter of a model inside a `with`."""

    def __init__(self, model: Any, name: str) -> None:
        self._model, self._name = model, name

    def __enter__(self) -> None:
        self._before = self._model.active_adapter
        self._model.set_adapter(self._name)

    def __exit__(self, *_: object) -> None:
        self._model.set_adapter(self._before)


def score_pairs(run: str | Path, records: Iterable[Record], *, device: str = "auto", batch_size: int = 4) -> Scores:
    """Score pairs by a finished run against its reference.

    A fully trained run is compared with its parent or base, loaded beside it.
    """
    loaded = load_run(run, device=device)
    manifest = read_manifest(run)
    config = manifest.config
    rows, report = encode_pairs(records, loaded.template, loaded.tokenizer, max_length=int(config["max_length"]))
    if not rows:
        from finetune.errors import DataError

        raise DataError("no pair is left to score", f"dropped: {report.dropped}")
    pad = loaded.tokenizer.pad_token_id
    policy = pair_log_probs(loaded.model, rows, pad_token_id=pad, batch_size=batch_size)
    if manifest.method == "full":
        other = _full_reference(run, device)
        reference = pair_log_probs(other.model, rows, pad_token_id=pad, batch_size=batch_size)
    else:
        with reference_of(run, loaded):
            reference = pair_log_probs(loaded.model, rows, pad_token_id=pad, batch_size=batch_size)
    beta = float(config["beta"])
    chosen, rejected = (
        [beta * (p - r) for p, r in zip(ours, theirs, strict=True)]
        for ours, theirs in zip(policy, reference, strict=True)
    )
    return Scores(chosen, rejected, report)


def _full_reference(run: str | Path, device: str) -> Loaded:
    from finetune.train.load import load_plain

    manifest = read_manifest(run)
    if manifest.reference == "parent" and manifest.parent:
        return load_run(manifest.parent, device=device)
    return load_plain(manifest.base, device=device)

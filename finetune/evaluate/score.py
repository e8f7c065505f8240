"""Scores pairs under a model and its reference: implicit rewards, margin and accuracy.

The log-probabilities here are computed from plain logits, without the trainer's fused head, so that each checks the other.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.data.encode import EncodingReport, TokenRow, encode_pairs
from finetune.data.records import Record
from finetune.errors import DataError, FinetuneError
from finetune.runs.manifest import RunManifest, read_manifest, weights_of
from finetune.train.any_model import find_model, load_model
from finetune.train.load import REFERENCE, LoadedModel, load_plain, load_run
from finetune.train.window import window_of
from quire import UsageError

_BETA = 0.1  # of models that were not trained here
_MAX_LENGTH = 1024  # tokens per row, for a model that does not name its window


@dataclass(frozen=True, slots=True)
class Scores:
    """Implicit rewards (beta times log-ratio) of each pair, their accuracy and their margin."""

    chosen: list[float]
    rejected: list[float]
    report: EncodingReport

    @property
    def accuracy(self) -> float:
        """Return the share of pairs whose chosen answer has the higher reward."""
        return sum(c > r for c, r in zip(self.chosen, self.rejected, strict=True)) / len(self.chosen)

    @property
    def margin(self) -> float:
        """Return the mean difference of the rewards."""
        return sum(c - r for c, r in zip(self.chosen, self.rejected, strict=True)) / len(self.chosen)

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as `quire finetune score --json` prints them."""
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
    """Return log p(answer | prompt) of each pair of id lists, summed over the answer's tokens without padding."""
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
        with torch.no_grad():
            logits = model(input_ids=tokens, attention_mask=mask, position_ids=positions, use_cache=False).logits
        # position t predicts token t + 1
        log_probs = logits[:, :-1].float().log_softmax(dim=-1).gather(2, tokens[:, 1:, None]).squeeze(2)
        found += (log_probs * torch.tensor(counted, device=device)[:, 1:]).sum(dim=1).tolist()
    return found


def pair_log_probs(
    model: Any, rows: Sequence[TokenRow], *, pad_token_id: int, batch_size: int = 4
) -> tuple[list[float], list[float]]:
    """Return the log-probabilities of the chosen and of the rejected answers of encoded pairs."""
    prompts = [row["prompt_ids"] for row in rows]
    chosen = answer_log_probs(
        model, prompts, [row["chosen_ids"] for row in rows], pad_token_id=pad_token_id, batch_size=batch_size
    )
    rejected = answer_log_probs(
        model, prompts, [row["rejected_ids"] for row in rows], pad_token_id=pad_token_id, batch_size=batch_size
    )
    return chosen, rejected


def score_pairs(
    model: str | Path,
    records: Iterable[Record],
    *,
    device: str = "auto",
    batch_size: int = 4,
    reference: str = "",
    base: str = "",
) -> Scores:
    """Return the scores of pairs under a model and its reference.

    The reference is `reference` if given; else that of a run's training; for a PEFT adapter, its base. `base` is the base
    model when it has moved. Raises DataError when no pair is usable, UsageError for a model without a reference.
    """
    found = find_model(model)
    if found.kind in ("model", "gguf") and not reference:
        raise UsageError(
            f"{model} is not an adapter, so there is no base to compare it with",
            "add --reference MODEL, such as the model that it was trained from",
        )
    manifest = read_manifest(found.place) if found.kind == "run" else None
    loaded = load_model(model, device=device, base=base)
    max_length = int(manifest.config["max_length"]) if manifest else window_of(loaded) or _MAX_LENGTH
    beta = float(manifest.config["beta"]) if manifest else _BETA
    rows, report = encode_pairs(records, loaded.template, loaded.tokenizer, max_length=max_length)
    if not rows:
        raise DataError("there is no usable pair to score", f"dropped: {report.dropped}")

    def log_probs(network: Any) -> tuple[list[float], list[float]]:
        return pair_log_probs(network, rows, pad_token_id=loaded.tokenizer.pad_token_id, batch_size=batch_size)

    policy = log_probs(loaded.model)
    if reference:
        other = log_probs(_given_reference(loaded, model, reference, device))
    elif manifest and manifest.method == "full":
        other = log_probs(_full_reference(manifest, device))
    else:
        with _adapter_reference(manifest, loaded.model):
            other = log_probs(loaded.model)
    if not all(math.isfinite(value) for values in (*policy, *other) for value in values):
        raise FinetuneError(
            f"log-probabilities of {Path(model).name} or its reference are not numbers",
            "its weights or its base are broken: train it again, from a sound base",
        )
    chosen, rejected = (
        [beta * (p - r) for p, r in zip(ours, theirs, strict=True)] for ours, theirs in zip(policy, other, strict=True)
    )
    return Scores(chosen, rejected, report)


def _given_reference(loaded: LoadedModel, model: str | Path, reference: str, device: str) -> Any:
    other = load_model(reference, device=device)
    if other.tokenizer.get_vocab() != loaded.tokenizer.get_vocab():
        raise UsageError(
            f"{reference} has another vocabulary than {model}, so their log-probabilities cannot be compared",
            "give the model that it was trained from",
        )
    return other.model


def _full_reference(manifest: RunManifest, device: str) -> Any:
    if manifest.reference == "parent" and manifest.parent:
        return load_run(manifest.parent, device=device).model
    return load_plain(manifest.base, device=device).model


@contextmanager
def _adapter_reference(manifest: RunManifest | None, model: Any) -> Iterator[None]:
    """Make a model with an adapter its own reference inside the `with`: with the parent's adapter, or with none."""
    if not (manifest and manifest.reference == "parent" and manifest.parent):
        with model.disable_adapter() if hasattr(model, "disable_adapter") else nullcontext():
            yield
        return
    adapter = weights_of(manifest.parent)
    model.load_adapter(str(adapter), adapter_name=REFERENCE, torch_device=str(next(model.parameters()).device))
    before = model.active_adapter
    model.set_adapter(REFERENCE)
    try:
        yield
    finally:
        model.set_adapter(before)

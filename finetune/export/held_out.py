"""Held-out loss of the trained model, on either base, and of the merged one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from finetune.errors import ExportError
from finetune.export.streamed import head_of, hidden_states, open_trained
from finetune.runs.manifest import RunManifest, find_run
from finetune.templates.find import load_template
from finetune.train.device import own_device
from quire import QuireError, pluralize

Example = tuple[list[int], list[int], list[int]]  # ids, positions that predict a trained token, those tokens

MAX_ROWS = 32  # that are measured
TILE = 32  # positions whose log-probabilities are in memory at once


def measure_trained(run: str | Path, manifest: RunManifest, *, base_folder: str = "") -> "HeldOut | None":
    """Return a run's held-out rows with the loss of the trained model and, for QLoRA, on the full-precision base.

    None when the run's data can no longer be read. Raises ExportError for a model whose values are not numbers.
    """
    try:
        examples = held_out_rows(run, manifest)[:MAX_ROWS]
    except (OSError, ExportError):
        return None
    trained = _measure(open_trained(run, base_folder=base_folder), examples)
    if not all(hidden.isfinite().all() for hidden in trained.hidden):
        raise ExportError(
            f"the trained model of {Path(run).name} gives log-probabilities that are not numbers",
            "its weights or its base are broken: train it again, from a sound base",
        )
    found = HeldOut(examples, trained, {"trained": _cost(trained, trained, examples)}, own_device(manifest.device))
    if manifest.method == "qlora":
        found.add("original", open_trained(run, full_precision=True, base_folder=base_folder))
    return found


class _Measured(NamedTuple):
    """What is kept of a model: its last hidden states on each example, and its output head."""

    hidden: list[Any]
    log_probs: Callable[[Any], Any]


@dataclass(slots=True)
class HeldOut:
    """Held-out rows of a run, and the cost of models on them; one model is open beside the trained one's output head.

    `cost` has for each model (`trained`; `original`, the adapter on the full-precision base; `merged`) its `nll` in nats per
    trained token, and its `kl` in nats per token from the trained model. `device` is where they are measured.
    """

    examples: list[Example]
    trained: _Measured
    cost: dict[str, dict[str, float]]
    device: str

    def add(self, name: str, model: Any) -> None:
        """Measure a model."""
        self.cost[name] = _cost(self.trained, _measure(model, self.examples), self.examples)

    @property
    def favors_full_precision(self) -> bool:
        """Return whether the adapter has a lower loss on the full-precision base than on the 4-bit one of its training."""
        return "original" in self.cost and self.cost["original"]["nll"] < self.cost["trained"]["nll"]

    def choice(self) -> str:
        """Return the loss on both bases as a sentence."""
        original, trained = (self.cost[name]["nll"] for name in ("original", "trained"))
        return (
            f"{original:.4f} nats per token on the full-precision base, {trained:.4f} on the dequantized one "
            f"({pluralize(len(self.examples), 'held-out row')})"
        )


def _measure(model: Any, examples: list[Example]) -> _Measured:
    hidden = hidden_states(model, [ids for ids, _, _ in examples], [positions for _, positions, _ in examples])
    return _Measured(hidden, head_of(model))


def _cost(trained: _Measured, other: _Measured, examples: list[Example]) -> dict[str, float]:
    """Return nll and KL; only sums are kept, since one row of log-probabilities has the size of the vocabulary."""
    nll, kl, count = 0.0, 0.0, 0
    for row, (_, _, targets) in enumerate(examples):
        for start in range(0, len(targets), TILE):
            tile = slice(start, start + TILE)
            p, q = trained.log_probs(trained.hidden[row][tile]), other.log_probs(other.hidden[row][tile])
            wanted = targets[tile]
            nll -= float(q[range(len(wanted)), wanted].double().sum())
            kl += float((p.exp() * (p - q)).sum())
        count += len(targets)
    return {"nll": nll / count, "kl": max(0.0, kl / count)}


def held_out_rows(run: str | Path, manifest: RunManifest) -> list[Example]:
    """Return the run's held-out rows, or its training rows if it has none, encoded as in training.

    Raises ExportError when the data can no longer be read.
    """
    from finetune.train.load import load_tokenizer, run_config
    from finetune.train.rows import prepare

    adapter = find_run(run) / manifest.adapter
    try:
        prepared = prepare(run_config(manifest, device="cpu"), load_template(adapter), load_tokenizer(str(adapter)))
    except QuireError as exc:
        raise ExportError(f"the run's data can no longer be read: {exc.message}", exc.hint) from exc
    return [_example(row) for row in prepared.held_out or prepared.training]


def _example(row: dict[str, Any]) -> Example:
    if "input_ids" in row:
        ids, labels = row["input_ids"], row["labels"]
    else:
        answer = row.get("chosen_ids") or row.get("completion_ids") or []
        ids = [*row["prompt_ids"], *answer]
        labels = [-100] * len(row["prompt_ids"]) + list(answer)
    positions = [i - 1 for i, label in enumerate(labels) if label >= 0 and i > 0]
    return list(ids), positions, [labels[i + 1] for i in positions]

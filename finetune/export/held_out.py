"""The cost of a merge: held-out loss of the trained model beside that of the merged one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from finetune.errors import ExportError
from finetune.export.streamed import head_of, hidden_states, open_streamed, open_trained
from finetune.runs.manifest import RunManifest, find_run
from finetune.templates.find import load_template
from quire import QuireError

Example = tuple[list[int], list[int], list[int]]  # ids, positions that predict a trained token, those tokens

TILE = 128  # positions whose log-probabilities are in memory at once


def held_out_cost(
    run: str | Path, manifest: RunManifest, merged: Path, *, rows: int = 32, base_folder: str = ""
) -> dict[str, dict[str, float]]:
    """Measure the trained model, the merged one and, for QLoRA, the adapter on the full-precision base.

    Returns for each (`trained`, `merged`, `original`) its `nll` in nats per trained token and its `kl` in nats per token
    from the trained model; empty when the run's data can no longer be read. One model is open at a time.
    """
    try:
        examples = held_out_rows(run, manifest)[:rows]
    except (OSError, ExportError):
        return {}
    trained = _measure(open_trained(run, base_folder=base_folder), examples)
    if not all(hidden.isfinite().all() for hidden in trained.hidden):
        raise ExportError(
            f"the trained model of {Path(run).name} gives log-probabilities that are not numbers",
            "its weights or its base are broken: train it again, from a sound base",
        )
    cost = {"trained": _cost(trained, trained, examples)}
    cost["merged"] = _cost(trained, _measure(open_streamed(merged), examples), examples)
    if manifest.method == "qlora":
        full_precision = open_trained(run, full_precision=True, base_folder=base_folder)
        cost["original"] = _cost(trained, _measure(full_precision, examples), examples)
    return cost


class _Measured(NamedTuple):
    """What is kept of a model: its last hidden states on each example, and its output head."""

    hidden: list[Any]
    log_probs: Callable[[Any], Any]


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

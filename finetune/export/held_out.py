"""The cost of a merge: held-out loss of the trained model beside that of the merged one."""

from pathlib import Path
from typing import Any

import numpy as np

from finetune.errors import ExportError
from finetune.export.safetensors_io import Floats
from finetune.runs.manifest import RunManifest, find_run
from finetune.templates.find import load_template
from quire import QuireError

Example = tuple[list[int], list[int], list[int]]  # ids, positions that predict a trained token, those tokens


def held_out_cost(
    run: str | Path, manifest: RunManifest, merged: Path, *, rows: int = 32, base_folder: str = ""
) -> dict[str, dict[str, float]]:
    """Measure the trained model, the merged one and, for QLoRA, the adapter on the full-precision base.

    Returns for each (`trained`, `merged`, `original`) its `nll` in nats per trained token and its `kl` in nats per token
    from the trained model; empty when the run's data can no longer be read.
    """
    from finetune.train.load import load_run

    try:
        examples = held_out_rows(run, manifest)[:rows]
    except (OSError, ExportError):
        return {}
    trained = _log_probs(load_run(run, device="cpu", base=base_folder).model, examples)
    if not all(np.isfinite(row).all() for row in trained):
        raise ExportError(
            f"the trained model of {Path(run).name} gives log-probabilities that are not numbers",
            "its weights or its base are broken: train it again, from a sound base",
        )
    measured = {"trained": trained, "merged": _log_probs(_load_merged(merged), examples)}
    if manifest.method == "qlora":
        full_precision = load_run(run, device="cpu", method="lora", base=base_folder).model
        measured["original"] = _log_probs(full_precision, examples)
    cost = {}
    for name, logs in measured.items():
        nll = [-row[np.arange(len(t)), t] for row, (_, _, t) in zip(logs, examples, strict=True)]
        kl = [(np.exp(p) * (p - q)).sum(axis=-1) for p, q in zip(trained, logs, strict=True)]
        cost[name] = {"nll": float(np.concatenate(nll).mean()), "kl": max(0.0, float(np.concatenate(kl).mean()))}
    return cost


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


def _load_merged(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def _log_probs(model: Any, examples: list[Example]) -> list[Floats]:
    import torch

    found = []
    with torch.no_grad():
        for ids, positions, _ in examples:
            logits = model(torch.tensor([ids])).logits[0, positions].float()
            found.append(torch.log_softmax(logits, dim=-1).numpy())
    return found

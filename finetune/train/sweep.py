"""A sweep: one run for each combination of some settings, ranked on held-out rows; it can be resumed.

All runs share the seed, the data and the cached reference log-probabilities. Finished runs are not repeated.
"""

import hashlib
import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune.config import TrainConfig, build
from finetune.runs.manifest import find_run, read_manifest, runs_folder
from finetune.train.context import Progress
from finetune.train.metrics import read_metrics
from finetune.train.stages import train_unless_finished
from quire import UsageError, strict_json

logger = logging.getLogger(__name__)

VARIABLE_SETTINGS = (
    "beta", "loss", "learning_rate", "optimizer", "schedule", "method", "parent", "rank", "label_smoothing",
)  # fmt: skip


def parse_variations(items: Sequence[str]) -> dict[str, list[Any]]:
    """Return the values of each setting in texts like `beta=0.05,0.1`; raises UsageError."""
    found: dict[str, list[Any]] = {}
    for item in items:
        name, mark, values = item.partition("=")
        name = name.strip().replace("-", "_")
        if not mark or name not in VARIABLE_SETTINGS:
            raise UsageError(
                f"{item!r} is not a setting to vary", f"write SETTING=A,B with one of {', '.join(VARIABLE_SETTINGS)}"
            )
        found[name] = [_number(value.strip()) for value in values.split(",") if value.strip()]
        if not found[name]:
            raise UsageError(f"{item!r} has no values", "write SETTING=A,B")
    return found


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def combinations(base: TrainConfig, variations: Mapping[str, Sequence[Any]], *, name: str) -> list[TrainConfig]:
    """Return the settings of every run of a sweep, each run named by the values that it varies.

    Raises SettingsError when a combination is not valid, before any run starts.
    """
    found = []
    shared: dict[str, Any] = {"name": None, "precompute_reference": base.kind in ("paired", "unpaired") or None}
    for values in itertools.product(*variations.values()):
        chosen = dict(zip(variations, values, strict=True))
        tag = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:8]
        if "loss" in chosen and build(base.to_dict(), {"loss": chosen["loss"]}).kind == "reference-free":
            shared["precompute_reference"] = False
        found.append(build(base.to_dict(), shared, chosen, {"name": f"{name}-{tag}"}))
    return found


def sweep(
    base: TrainConfig,
    variations: Mapping[str, Sequence[Any]],
    *,
    name: str,
    command: Sequence[str] = (),
    progress: Progress = logger.info,
) -> dict[str, Any]:
    """Train or resume every combination, write sweep.json, sweep.md and sweep.png to runs/NAME, and return the table.

    Raises UsageError without held-out rows, because they decide the ranking.
    """
    if not base.eval_data and not base.eval_share:
        raise UsageError("a sweep ranks its runs on held-out rows", "give --eval-data FILE or --eval-share 0.1")
    configs = combinations(base, variations, name=name)
    rows = []
    for number, config in enumerate(configs, start=1):
        values = ", ".join(f"{key} {getattr(config, key)}" for key in variations)
        progress(f"{number}/{len(configs)} {values}")
        folder = train_unless_finished(config, command=command, progress=progress)
        rows.append(_row(folder, variations))
    _rank(rows, base.stage)
    table = {"best": rows[0]["run"], "varied": list(variations), "runs": rows}
    folder = runs_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.json").write_text(strict_json(table, indent=2) + "\n", encoding="utf-8")
    (folder / "sweep.md").write_text(to_markdown(table), encoding="utf-8")
    _plot(folder / "sweep.png", rows, list(variations))
    return table


def _row(folder: Path, variations: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    config = read_manifest(folder).config
    lines = [line for line in read_metrics(folder) if "eval_loss" in line]
    best = min(lines, key=lambda line: float(line["eval_loss"])) if lines else {}
    row: dict[str, Any] = {"run": folder.name}
    for name in variations:
        value = config[name]
        row[name] = Path(value).name if name == "parent" and value else value
    row["eval_loss"] = best.get("eval_loss")
    row["accuracy"] = best.get("eval_rewards/accuracies")
    row["margin"] = best.get("eval_rewards/margins")
    row["kl"] = best.get("eval_kl")
    if parent := config.get("parent"):
        row["sft_eval_loss"] = _best_eval(find_run(parent))
    return row


def _best_eval(folder: Path) -> float | None:
    found = [float(line["eval_loss"]) for line in read_metrics(folder) if "eval_loss" in line]
    return min(found) if found else None


def _rank(rows: list[dict[str, Any]], stage: str) -> None:
    """Sort the runs, best first: pairs by held-out accuracy, then margin; otherwise by held-out loss."""
    losses_differ = len({row.get("loss") for row in rows}) > 1
    if stage == "dpo" and all(row["accuracy"] is not None for row in rows):
        rows.sort(key=lambda row: (-row["accuracy"], -(row["margin"] or 0.0) if losses_differ else row["eval_loss"]))
    else:
        rows.sort(key=lambda row: float("inf") if row["eval_loss"] is None else row["eval_loss"])
    by_sft = sorted({row["sft_eval_loss"] for row in rows if row.get("sft_eval_loss") is not None})
    for rank, row in enumerate(rows, start=1):
        row["rank"] = rank
        if row.get("sft_eval_loss") is not None:
            row["sft_rank"] = by_sft.index(row["sft_eval_loss"]) + 1


def to_markdown(table: Mapping[str, Any]) -> str:
    """Return the table of a sweep as Markdown."""
    columns = ["rank", *table["varied"], "eval_loss", "accuracy", "margin", "kl"]
    if any("sft_rank" in row for row in table["runs"]):
        columns.append("sft_rank")
    columns.append("run")

    def cell(value: Any) -> str:
        if value is None:
            return "-"
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(cell(row.get(c)) for c in columns) + " |" for row in table["runs"]]
    return "\n".join(lines) + "\n"


def _plot(path: Path, rows: Sequence[Mapping[str, Any]], varied: Sequence[str]) -> None:
    """Plot the held-out margin against the KL to the reference, or, without a KL, the held-out loss of each run."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    with_kl = all(row["kl"] is not None and row["margin"] is not None for row in rows)
    for place, row in enumerate(rows):
        x, y = (row["kl"], row["margin"]) if with_kl else (place, row["eval_loss"] or 0.0)
        axes.plot([x], [y], "o")
        axes.annotate(", ".join(str(row[name]) for name in varied), (x, y), fontsize="small")
    axes.set_xlabel("KL to the reference, nats per token" if with_kl else "run")
    axes.set_ylabel("held-out margin" if with_kl else "held-out loss")
    figure.savefig(path, dpi=100)

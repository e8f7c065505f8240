"""A sweep: one run for each combination of some settings, ranked on held-out rows; it can be resumed.

All runs share the seed, the data and the cached reference log-probabilities. Finished runs are not repeated. How they are
ranked is in `ranking`.
"""

import hashlib
import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune.config import TrainConfig, build
from finetune.errors import SettingsError
from finetune.loss_names import REFERENCE_FREE_LOSSES, SMOOTHED_LOSSES, parse_loss
from finetune.runs.manifest import find_run, read_manifest, run_name, run_of_checkpoint, runs_folder
from finetune.train.context import Progress
from finetune.train.metrics import read_metrics
from finetune.train.ranking import curve, rank
from finetune.train.stages import stage_settings, train_unless_finished
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


def combinations(
    stage: str, settings: Mapping[str, Any], variations: Mapping[str, Sequence[Any]], *, name: str, recipe: str = ""
) -> list[TrainConfig]:
    """Return the settings of every run of a sweep, each run named by the values that it varies.

    `settings` and `recipe` are as for one stage. Each combination has its own defaults, and a setting that is not varied and
    does not apply to its loss is left out, so that no run depends on the others or on their order. Raises UsageError that
    names each combination that is not valid, before any run starts.
    """
    _refuse_what_a_parent_decides(settings, variations)
    found, wrong = [], []
    for values in itertools.product(*variations.values()):
        chosen = dict(zip(variations, values, strict=True))
        tag = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:8]
        merged = {**stage_settings(stage, {**settings, **chosen}, recipe=recipe), "name": f"{name}-{tag}"}
        try:
            found.append(build(_applying(merged, kept=chosen)))
        except SettingsError as exc:
            label = ", ".join(f"{key} = {value}" for key, value in chosen.items())
            wrong.append(f"{label}: {'; '.join(exc.problems)}")
    if wrong:
        raise UsageError(
            "\n  - ".join(["these combinations are not valid:", *wrong]), "nothing was trained; vary other values"
        )
    return found


def _refuse_what_a_parent_decides(settings: Mapping[str, Any], variations: Mapping[str, Sequence[Any]]) -> None:
    if settings.get("parent") or "parent" in variations:
        for name in ("method", "rank"):
            if name in variations:
                raise UsageError(
                    f"{name} cannot be varied with a parent: its adapter is trained further as it is",
                    f"sweep SFT runs with --stage sft --vary {name}=..., and then --vary parent=A,B with those runs",
                )


def _applying(settings: Mapping[str, Any], *, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of one run without those that its loss does not read, and with a shared reference pass."""
    found = dict(settings)
    try:
        names = set(parse_loss(str(found.get("loss") or "sigmoid")))
    except UsageError:  # an unknown loss: `build` reports it
        return found
    if found.get("stage") != "dpo" or names & set(REFERENCE_FREE_LOSSES):
        found.pop("precompute_reference", None)
    else:
        found.setdefault("precompute_reference", True)
    if not names & set(SMOOTHED_LOSSES) and "label_smoothing" not in kept:
        found.pop("label_smoothing", None)
    return found


def sweep(
    configs: Sequence[TrainConfig],
    varied: Sequence[str],
    *,
    name: str,
    command: Sequence[str] = (),
    progress: Progress = logger.info,
) -> dict[str, Any]:
    """Train or resume every combination, write sweep.json, sweep.md and sweep.png to runs/NAME, and return the table.

    Raises UsageError without held-out rows, because they decide the ranking.
    """
    if not all(config.eval_data or config.eval_share for config in configs):
        raise UsageError("a sweep ranks its runs on held-out rows", "give --eval-data FILE or --eval-share 0.1")
    rows, curves = [], {}
    for number, config in enumerate(configs, start=1):
        values = ", ".join(f"{key} {getattr(config, key)}" for key in varied)
        progress(f"{number}/{len(configs)} {values}")
        folder = train_unless_finished(config, command=command, progress=progress)
        rows.append(_row(folder, varied))
        curves[folder.name] = curve(read_metrics(folder), beta=config.beta)
    kl = rank(rows, curves, stage=configs[0].stage)
    table = {"best": rows[0]["run"], "varied": list(varied), "compared_at_kl": kl, "runs": rows}
    folder = runs_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.json").write_text(strict_json(table, indent=2) + "\n", encoding="utf-8")
    (folder / "sweep.md").write_text(to_markdown(table), encoding="utf-8")
    _plot(folder / "sweep.png", rows, varied)
    return table


def _row(folder: Path, varied: Sequence[str]) -> dict[str, Any]:
    config = read_manifest(folder).config
    lines = [line for line in read_metrics(folder) if "eval_loss" in line]
    best = min(lines, key=lambda line: float(line["eval_loss"])) if lines else {}
    row: dict[str, Any] = {"run": folder.name}
    for name in varied:
        value = config[name]
        row[name] = run_name(value) if name == "parent" and value else value
    row["eval_loss"] = best.get("eval_loss")
    row["accuracy"] = best.get("eval_rewards/accuracies")
    row["margin"] = best.get("eval_rewards/margins")
    row["margin_nats"] = None if row["margin"] is None else row["margin"] / config["beta"]
    row["kl"] = best.get("eval_kl")
    if parent := config.get("parent"):
        row["sft_eval_loss"] = _sft_eval_loss(find_run(parent))
    return row


def _sft_eval_loss(parent: Path) -> float | None:
    """Return the held-out loss of an SFT run: its best, or for a checkpoint that of its step."""
    owner = run_of_checkpoint(parent)
    lines = [line for line in read_metrics(owner or parent) if "eval_loss" in line]
    found = [float(line["eval_loss"]) for line in lines if not owner or f"checkpoint-{line['step']}" == parent.name]
    return min(found) if found else None


def to_markdown(table: Mapping[str, Any]) -> str:
    """Return the table of a sweep as Markdown."""
    columns = ["rank", *table["varied"], "accuracy", "margin_at_kl", "margin_nats", "kl", "eval_loss"]
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
    with_kl = all(row["kl"] is not None and row["margin_nats"] is not None for row in rows)
    for place, row in enumerate(rows):
        x, y = (row["kl"], row["margin_nats"]) if with_kl else (place, row["eval_loss"] or 0.0)
        axes.plot([x], [y], "o")
        axes.annotate(", ".join(str(row[name]) for name in varied), (x, y), fontsize="small")
    axes.set_xlabel("KL to the reference on the data, nats per token" if with_kl else "run")
    axes.set_ylabel("held-out margin, nats" if with_kl else "held-out loss")
    figure.savefig(path, dpi=100)

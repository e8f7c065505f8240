"""What a finished run leaves in its folder: the trained weights, report.json and the manifest."""

import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetune.config import TrainConfig
from finetune.errors import ModelUnavailable
from finetune.runs.manifest import RunManifest, hash_weights, library_versions
from finetune.templates.find import save_template
from finetune.templates.jinja_and_go import to_jinja
from finetune.train.architectures import shape_of
from finetune.train.attention import choose_attention, is_padding_free
from finetune.train.cards import detect_card
from finetune.train.context import Run
from finetune.train.device import compute_dtype, device_type, peak_memory_bytes, process_count
from finetune.train.plan import flops_per_token
from finetune.train.rows import Rows
from quire import strict_json


def save_weights(run: Run, model: Any) -> None:
    """Write weights, tokenizer and template to `adapter/`; never the frozen reference."""
    target = run.folder / "adapter"
    if run.config.method == "full":
        model.save_pretrained(target)
    else:
        model.save_pretrained(target, selected_adapters=["default"])
    run.tokenizer.chat_template = to_jinja(run.template)
    run.tokenizer.save_pretrained(target)
    save_template(run.template, target)
    (target / "README.md").unlink(missing_ok=True)  # PEFT's empty model card; the manifest holds the facts


def manifest_of(run: Run, command: Sequence[str], data: dict[str, str]) -> RunManifest:
    """Return the record of what the run was made of; `data` is the fingerprint of each source."""
    config = run.config
    return RunManifest(
        stage=config.stage,
        base=config.model,
        method=config.method,
        template=run.template.name,
        command=list(command),
        config=config.to_dict(),
        data=data,
        versions=library_versions(),
        parent=config.parent,
        parent_sha256=hash_weights(config.parent) if config.parent else "",
        reference=config.reference if config.kind in ("paired", "unpaired") else "",
        dtype=str(compute_dtype(config)).removeprefix("torch."),
        device=device_type(config),
        attention=choose_attention(config),
    )


def write_report(run: Run, trainer: Any, rows: Rows, *, trainable: int, seconds: float, tokens: float) -> None:
    """Write report.json: what the run cost and its results.

    `trainable` is the number of trained parameters; `seconds` and `tokens` are those of all parts of a resumed run.
    """
    import torch

    config, state = run.config, trainer.state
    losses = [line["loss"] for line in state.log_history if "loss" in line]
    evals = [line["eval_loss"] for line in state.log_history if "eval_loss" in line]
    best = state.best_model_checkpoint
    hours = seconds / 3600
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    report = {
        "stage": config.stage,
        "steps": state.global_step,
        "seconds": round(seconds, 3),
        "tokens": int(tokens),
        "tokens_per_second": round(tokens / seconds, 1) if tokens else None,
        "mfu": _utilization(config, tokens / seconds),
        "padding": _mean_over_steps(state.log_history, "padding", default=0.0 if is_padding_free(config) else None),
        "peak_memory_gb": round(peak_memory_bytes() / 2**30, 3),
        "trainable_parameters": trainable,
        "loss": {"first": losses[0] if losses else None, "last": losses[-1] if losses else None},
        "eval_loss": {"best": min(evals) if evals else None, "last": evals[-1] if evals else None},
        "best_checkpoint": Path(best).name if best else None,
        "last": _last_values(state.log_history),
        "energy_kwh": round(config.watts * hours / 1000, 6) if config.watts else None,
        "price": round(config.price_per_hour * hours, 6) if config.price_per_hour else None,
        "rows": rows.report.to_dict(),
        "mixture": [share.to_dict() for share in rows.shares],
        "held_out_rows": rows.held_out_report.to_dict() if rows.held_out_report else None,
        "hardware": {"device": device, "processes": process_count(), "threads": torch.get_num_threads()},
        "versions": library_versions(),
        "notices": run.notices,
    }
    text = strict_json(report, indent=2) + "\n"
    (run.folder / "report.json").write_text(text, encoding="utf-8")


def _last_values(history: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the last value of everything that was logged; `train_loss` is the mean over all steps.

    transformers takes that mean over the steps since a resume.
    """
    found = {name: value for line in history for name, value in line.items() if isinstance(value, int | float)}
    if "train_loss" in found:
        found["train_loss"] = _mean_over_steps(history, "loss", default=found["train_loss"])
    return found


def _mean_over_steps(history: Sequence[dict[str, Any]], name: str, *, default: float | None) -> Any:
    """Return the mean of a logged value, each line weighted by the steps since the last; `default` where none has it."""
    lines = [(line["step"], line[name]) for line in history if name in line]
    starts = [0, *(step for step, _ in lines)]
    total = sum(value * (step - start) for (step, value), start in zip(lines, starts, strict=False))
    return total / lines[-1][0] if lines else default


def _utilization(config: TrainConfig, tokens_per_second: float) -> float | None:
    """Return the share of the GPUs' 16-bit peak that training used (MFU); None on a CPU and where the peak is not known.

    Counted is what the method has to compute: no recomputation for gradient checkpointing, and no attention scores.
    """
    peak = 0.0 if device_type(config) == "cpu" else detect_card().tflops * 1e12 * process_count()
    try:
        needed = flops_per_token(shape_of(config.model), replace(config, gradient_checkpointing=False), config.stage)
    except ModelUnavailable:
        return None
    return round(tokens_per_second * needed / peak, 4) if peak else None

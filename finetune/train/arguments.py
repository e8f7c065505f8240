"""The arguments that all of TRL's trainers share, made from a run's settings."""

import sys
from pathlib import Path
from typing import Any

from finetune.config import TrainConfig
from finetune.train.device import compute_dtype


def training_arguments(config: TrainConfig, folder: Path, *, evaluates: bool) -> dict[str, Any]:
    """Return the keyword arguments of a TRL config; `evaluates` says whether the run has held-out rows."""
    import torch

    dtype = compute_dtype(config)
    on_gpu = torch.cuda.is_available() and config.device != "cpu"
    return {
        "output_dir": str(folder / "checkpoints"),
        "run_name": folder.name,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.schedule,
        "warmup_steps": config.warmup if config.warmup < 1 else 0.999,  # below 1 it is a share of all steps
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps or -1,
        "per_device_train_batch_size": config.batch_size,
        "per_device_eval_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.accumulation,
        "optim": config.optimizer,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "bf16": dtype == torch.bfloat16,
        "fp16": dtype == torch.float16,
        "gradient_checkpointing": config.gradient_checkpointing,
        "seed": config.seed,
        "data_seed": config.seed,
        "logging_steps": config.log_every,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,  # it logs a loss that is not a number as 0
        **_intervals(config, evaluates=evaluates),
        "save_total_limit": config.keep_checkpoints,
        "load_best_model_at_end": evaluates,
        # or the evaluations without improvement are counted from 0 after a resume
        "restore_callback_states_from_checkpoint": config.patience > 0,
        "metric_for_best_model": "eval_loss" if evaluates else None,
        "greater_is_better": False if evaluates else None,
        "report_to": list(config.trackers) or "none",
        "use_cpu": not on_gpu,
        "dataloader_pin_memory": on_gpu,
        "disable_tqdm": not sys.stderr.isatty(),
        "ddp_find_unused_parameters": False,
    }


def _intervals(config: TrainConfig, *, evaluates: bool) -> dict[str, Any]:
    """Return when to evaluate and when to save: both by epoch, or both by steps when either number is set.

    A number below 1 is a share of all steps; transformers rounds it up to steps, and evaluates and saves at the last step.
    """
    every = config.eval_every or config.save_every
    unit = "steps" if every else "epoch"
    found: dict[str, Any] = {"eval_strategy": unit if evaluates else "no", "save_strategy": unit}
    if every:
        found["save_steps"] = config.save_every or config.eval_every
        if evaluates:
            found["eval_steps"] = every
    return found

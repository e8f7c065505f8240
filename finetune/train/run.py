"""One training run from settings to manifest; `train` is the order of its steps."""

import errno
import json
import logging
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetune.config import TrainConfig
from finetune.data.records import Record
from finetune.data.sources.fingerprint import fingerprints
from finetune.errors import TrainingFailed
from finetune.runs.claim import claim, claimed_folder
from finetune.runs.inputs import keep_inputs
from finetune.runs.manifest import read_manifest, weights_of, write_manifest
from finetune.templates.find import describe_end
from finetune.templates.own import describe_difference
from finetune.train.arguments import training_arguments
from finetune.train.bases import export_notice, require_full_weights
from finetune.train.complete import complete, require_data
from finetune.train.context import Progress, Run
from finetune.train.curves import draw_curves
from finetune.train.device import check_machine, device_type, is_main_process, reset_peak_memory, return_large_blocks
from finetune.train.guardrails import GuardRails, settings_warnings
from finetune.train.libraries import quiet_libraries, require_libraries, require_trackers
from finetune.train.load import (
    add_adapter,
    check_targets,
    count_parameters,
    count_trainable,
    load_adapter,
    load_base,
    load_tokenizer,
    template_of,
)
from finetune.train.results import manifest_of, save_weights, write_report
from finetune.train.rows import Rows, prepare

logger = logging.getLogger(__name__)


def train(
    config: TrainConfig,
    *,
    command: Sequence[str] = (),
    resume: bool = False,
    progress: Progress = logger.info,
    records: Sequence[Record] | None = None,
) -> Path:
    """Train one run and return its folder; the manifest is written last.

    `records` replaces the data files of the settings; `command` is what the manifest names as the command. Raises
    RunExists, UnfinishedRun (of the parent), DataError, ModelUnavailable, UnknownTarget or TrainingFailed, before weights
    load wherever possible.
    """
    if records is None:
        require_data(config)
    require_libraries()
    require_trackers(config.trackers)
    quiet_libraries()
    config = complete(config)
    check_machine(config)
    reset_peak_memory()
    if device_type(config) == "cpu":
        return_large_blocks()
    check_targets(config)
    base = require_full_weights(config)
    with claim(config, resume=resume) if is_main_process() else nullcontext(claimed_folder(config)) as folder:
        tokenizer = load_tokenizer(config.model, config.revision)
        run = Run(config, folder, template_of(config, tokenizer), tokenizer, progress)
        progress(describe_end(run.template))
        for line in filter(None, (export_notice(base, config.model), describe_difference(run.template, tokenizer))):
            run.notice(line)
        # before the rows are read: the files may change while the run trains
        data = fingerprints([*config.data, *config.eval_data]) if records is None and is_main_process() else {}
        if is_main_process():
            keep_inputs(config, folder, data)
        rows = prepare(config, run.template, tokenizer, records, progress=progress)
        for line in rows.sentences():
            progress(line)
        with _translate_errors(folder):  # the reference's pass is in it, which needs as much memory as an evaluation
            model, reference = load_models(config)
            _check_vocabulary(run, model)
            trainer, metrics = build_trainer(run, model, reference, rows)
        trainable = count_trainable(model)
        progress(f"training {trainable:,} of {count_parameters(model):,} parameters")
        checkpoint = last_checkpoint(folder) if resume else None
        if resume:
            progress(f"continuing from {Path(checkpoint).name}" if checkpoint else "no checkpoint yet: starting again")
        with _translate_errors(folder):
            trainer.train(resume_from_checkpoint=checkpoint)
        seconds = metrics.seconds
        if is_main_process():
            with _translate_errors(folder):
                save_weights(run, model)
            write_report(run, trainer, rows, trainable=trainable, seconds=seconds, tokens=metrics.tokens)
            draw_curves(folder)
            write_manifest(folder, manifest_of(run, command, data))
        trainer.accelerator.wait_for_everyone()
        return folder


def load_models(config: TrainConfig) -> tuple[Any, Any]:
    """Return the model to train and, in full preference training, a second model that is its reference."""
    parent = weights_of(config.parent) if config.parent else None
    if config.method != "full":
        base = load_base(config)
        return load_adapter(base, parent, trainable=True) if parent else add_adapter(base, config), None
    if parent:
        config = replace(config, model=str(parent), revision="")
    model = add_adapter(load_base(config), config)
    if config.kind in ("sft", "reference-free"):
        return model, None
    if config.reference == "base" and config.parent:
        config = replace(config, model=read_manifest(config.parent).base)
    reference = load_base(config)  # as the policy is stored: computed from rounded weights, the first loss is not ln 2
    reference.requires_grad_(False)
    return model, reference.eval()


def _check_vocabulary(run: Run, model: Any) -> None:
    if run.config.stage == "sft" and model.get_input_embeddings().weight.shape[0] < len(run.tokenizer):
        raise TrainingFailed("the tokenizer has more tokens than the model", "use the model's own tokenizer")


def build_trainer(run: Run, model: Any, reference: Any, rows: Rows) -> tuple[Any, Any]:
    """Return the run's trainer, and its callback that writes metrics and counts tokens."""
    from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback

    from finetune.train import callbacks as ours
    from finetune.train.preference import build_preference
    from finetune.train.sft import build_sft

    config = run.config
    for warning in settings_warnings(config):
        run.notice(warning)
    mean = rows.report.trained_tokens / max(rows.report.rows, 1)
    rails = GuardRails(run.notice, stage=config.stage, answer_tokens=mean)
    metrics = ours.MetricsWriter(run, rails)
    callbacks: list[Any] = [ours.StopWhenNotFinite(sft=config.stage == "sft"), metrics, ours.LogWithCheckpoint()]
    if config.prompts:
        callbacks.append(ours.Sampler(run, rails))
    if config.stop_loss:
        callbacks.append(ours.StopAtLoss(config.stop_loss))
    if config.patience:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=config.patience))
    arguments = training_arguments(config, run.folder, evaluates=bool(rows.held_out))
    if config.stage == "sft":
        trainer = build_sft(run, model, rows, arguments=arguments, callbacks=callbacks)
    else:
        trainer = build_preference(run, model, reference, rows, arguments=arguments, callbacks=callbacks)
    if config.compile:
        _compile_layers(model)
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which is for results
    if not sys.stderr.isatty():
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(ours.ProgressLines(run.progress))
    return trainer, metrics


def _compile_layers(model: Any) -> None:
    """Compile each decoder layer by itself: they share one compilation, and what lies between them is not compiled."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.compile()


@contextmanager
def _translate_errors(folder: Path) -> Iterator[None]:
    """Raise TrainingFailed when GPU memory or the disk is full; the libraries raise a dozen types for these."""
    import torch
    from safetensors import SafetensorError

    try:
        yield
    except torch.OutOfMemoryError as exc:
        raise TrainingFailed(
            f"out of GPU memory: {str(exc).splitlines()[0]}",
            "`quire finetune plan` names settings that fit; first try a smaller --batch-size with a larger --accumulation",
        ) from exc
    except (OSError, SafetensorError, RuntimeError) as exc:
        unwritten = isinstance(exc, SafetensorError) or "inline_container" in str(exc) or "iostream" in str(exc)
        if not unwritten and getattr(exc, "errno", None) not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        free = shutil.disk_usage(folder).free / 2**30
        raise TrainingFailed(
            f"weights could not be written to {folder} ({free:.1f} GB are free there): {str(exc).splitlines()[0]}",
            "free some space, then repeat the command with --resume: it continues from the last complete checkpoint",
        ) from exc


def last_checkpoint(folder: Path) -> str | None:
    """Return the last complete checkpoint of a run.

    One that a killed process left incomplete has no trainer state, which is written last, or only its beginning.
    """
    found = [
        path
        for path in (folder / "checkpoints").glob("checkpoint-*")
        if _is_complete(path / "trainer_state.json") and path.name.rsplit("-", 1)[1].isdigit()
    ]
    return str(max(found, key=lambda path: int(path.name.rsplit("-", 1)[1]))) if found else None


def _is_complete(state: Path) -> bool:
    try:
        return isinstance(json.loads(state.read_bytes()), dict)
    except (OSError, ValueError):
        return False

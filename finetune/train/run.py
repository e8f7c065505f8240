"""One training run from settings to manifest; the order of its steps is written in `train` and nowhere else."""

import errno
import json
import logging
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from finetune.config import TrainConfig, build, runs_folder
from finetune.data.encode import EncodingReport, TokenRow, encode_for
from finetune.data.mix import Share, mix
from finetune.data.records import Record
from finetune.data.split import split
from finetune.errors import DataError, TrainingFailed
from finetune.runs.claim import claim, claimed
from finetune.runs.manifest import RunManifest, find_run, hash_files, library_versions, read_manifest, write_manifest
from finetune.templates.find import save_template
from finetune.templates.languages import to_jinja
from quire import UsageError

logger = logging.getLogger(__name__)

Say = Callable[[str], None]


@dataclass(slots=True)
class Prepared:
    """Everything a trainer is built of, and what the report tells about it."""

    rows: list[TokenRow]
    held_out: list[TokenRow]
    report: EncodingReport
    held_out_report: EncodingReport | None
    shares: list[Share] = field(default_factory=list)  # what each file gave to a mixture


def is_main() -> bool:
    """Say whether this process writes: the only one, or rank 0 under torchrun."""
    return int(os.environ.get("RANK", "0")) == 0


def processes() -> int:
    """Count the processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def train(
    config: TrainConfig,
    *,
    command: Sequence[str] = (),
    resume: bool = False,
    say: Say = logger.info,
    records: Sequence[Record] | None = None,
) -> Path:
    """Train one run and give its folder; the manifest is written last.

    `records` stands in for the config's data files. Raises RunExists, UnfinishedRun (parent), DataError,
    ModelUnavailable, UnknownTarget or TrainingFailed, before weights load wherever that can be known.
    """
    from finetune.train import load as models

    if records is None:
        require_data(config)
    models.require_libraries()
    models.require_trackers(config.trackers)
    models.quiet_libraries()
    config = complete(config)
    models.check_shape(config)
    with claim(config, resume=resume) if is_main() else nullcontext(claimed(config)) as folder:
        return _train(config, folder, command, resume, say, records)


def _train(
    config: TrainConfig, folder: Path, command: Sequence[str], resume: bool, say: Say, records: Sequence[Record] | None
) -> Path:
    from finetune.train import load as models

    notices = _Notices(say)
    tokenizer = models.load_tokenizer(config.model, config.revision)
    template = models.template_of(config)
    prepared = prepare(config, template, tokenizer, records, say=say)
    for line in _row_lines(prepared):
        say(line)
    model, reference = load_models(config)
    if config.stage == "sft" and model.get_input_embeddings().weight.shape[0] < len(tokenizer):
        raise TrainingFailed("the tokenizer has more tokens than the model", "give the model its own tokenizer")
    trainer, recorder = build_trainer(config, folder, model, reference, tokenizer, template, prepared, notices)
    trainable = models.count_trainable(model)
    say(f"{trainable:,} of {models.count_parameters(model):,} parameters are trained")
    started = time.perf_counter()
    with _told(folder):
        trainer.train(resume_from_checkpoint=_checkpoint(folder) if resume else None)
    seconds = time.perf_counter() - started
    if is_main():
        with _told(folder):
            save(config, folder, model, tokenizer, template)
        write_report(folder, config, trainer, prepared, seconds, recorder.tokens, trainable, notices.lines)
        from finetune.train.watch import draw_curves

        draw_curves(folder)
        write_manifest(folder, manifest_of(config, template.name, command))
    trainer.accelerator.wait_for_everyone()
    return folder


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Tell a full card and a full disk as what they are: the libraries raise a dozen kinds, none of which says what to do."""
    import torch
    from safetensors import SafetensorError

    try:
        yield
    except torch.OutOfMemoryError as exc:
        raise TrainingFailed(
            f"the card's memory is full: {str(exc).splitlines()[0]}",
            "`quire finetune plan` names settings that fit: a smaller --batch-size with a larger --accumulation first",
        ) from exc
    except (OSError, SafetensorError, RuntimeError) as exc:
        unwritten = isinstance(exc, SafetensorError) or "inline_container" in str(exc) or "iostream" in str(exc)
        if not unwritten and getattr(exc, "errno", None) not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        free = shutil.disk_usage(folder).free / 2**30
        raise TrainingFailed(
            f"weights could not be written into {folder} ({free:.1f} GB are free there): {str(exc).splitlines()[0]}",
            "make room, then give the same command with --resume: it goes on from the last whole checkpoint",
        ) from exc


class _Notices:
    """Says a line and keeps it for the report."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        if is_main():
            self._say(f"notice: {line}")


def _no_model() -> UsageError:
    return UsageError("no model is named", "give --model, a --recipe that names one, or --parent RUN")


def complete(config: TrainConfig) -> TrainConfig:
    """Fill in what the parent run or the device decides: base model, method, template, name, an optimiser that runs.

    Raises UsageError when no model is named.
    """
    from finetune.train.load import has_flash_attention

    values: dict[str, Any] = {}
    if config.parent:
        parent = read_manifest(config.parent)
        values["parent"] = str(find_run(config.parent))
        if config.model and _from_anywhere(config.model) != _from_anywhere(parent.base):
            raise UsageError(
                f"the run {config.parent} sits on {parent.base}, not on {config.model}", "leave --model out"
            )
        values["model"] = parent.base
        values["revision"] = str(parent.config.get("revision", ""))
        values["template"] = config.template or str(parent.config.get("template", ""))
        if config.method != parent.method:
            values["method"] = parent.method
        for name in ("rank", "alpha", "targets", "rslora", "dropout"):
            if name in parent.config:
                values[name] = parent.config[name] if name != "dropout" else 0.0
    if not (values.get("model") or config.model):
        raise _no_model()
    model = values["model"] = _from_anywhere(str(values.get("model") or config.model))
    values["data"] = tuple(map(_from_anywhere, config.data))
    values["eval_data"] = tuple(map(_from_anywhere, config.eval_data))
    if not config.parent and config.stage == "dpo":
        values["reference"] = "base"
    if config.optimizer.startswith("paged") and _on_cpu(config):
        values["optimizer"] = "adamw_torch"  # pages move between card and processor: there is no card
    if config.packing and config.batch_size > 1 and not has_flash_attention():
        # a pass of several packed sequences is one long row, whose mask and cost grow with its square
        values["batch_size"], values["accumulation"] = 1, config.batch_size * config.accumulation
    if not config.name:
        if processes() > 1:
            raise UsageError("a run by several processes needs a name", "give --name")
        values["name"] = _free_name(f"{Path(model).name.lower()}-{config.stage}")
    return build(config.to_dict(), values)


def _from_anywhere(name: str) -> str:
    """Give the whole path of a model or a data file: a finished run is used from other folders than it was trained in."""
    path = Path(name).expanduser()
    return str(path.resolve()) if path.exists() else name


def _on_cpu(config: TrainConfig) -> bool:
    from finetune.train.load import device_of

    return device_of(config) == "cpu"


def _free_name(stem: str) -> str:
    stem = "".join(c if c.isalnum() or c in "._-" else "-" for c in stem).lstrip("._-") or "run"
    name, count = stem, 1
    while (runs_folder() / name).exists():
        count += 1
        name = f"{stem}-{count}"
    return name


def require_data(config: TrainConfig) -> None:
    """Refuse a run without a model, without data, or with a file that is not there, before any library loads."""
    from finetune.data.sources.loader import require_source

    if not (config.model or config.parent):
        raise _no_model()
    if not config.data:
        raise UsageError("no data is named", "give files after the command, or `data` in the recipe")
    for name in (*config.data, *config.eval_data):
        require_source(name)


def prepare(
    config: TrainConfig,
    template: Any,
    tokenizer: Any,
    records: Sequence[Record] | None = None,
    *,
    say: Say = logger.info,
) -> Prepared:
    """Read, split and encode the data of a run."""
    task: Any = {"sft": "sft", "pair": "preference", "free": "preference", "label": "label"}[config.family]
    shares: list[Share] = []
    if records is not None:
        given = list(records)
    elif config.weights:
        given, shares = read_mixture(config, task, say=say)
    else:
        given = read_records(config.data, task, say=say)
    if config.max_rows:
        given = given[: config.max_rows]
    if config.eval_data:
        train_records, held = given, read_records(config.eval_data, task, say=say)
    else:
        train_records, held = split(given, held_out=config.eval_share, seed=config.seed)
        if config.eval_share and not held:
            raise DataError("all rows belong to one group: none can be held out", "give --eval-data FILE")
    rows, report = encode_for(config, train_records, template, tokenizer)
    if not held:
        return Prepared(rows, [], report, None, shares)
    held_rows, held_report = encode_for(config, held, template, tokenizer)
    return Prepared(rows, held_rows, report, held_report, shares)


def read_records(names: Sequence[str], task: Any, *, say: Say = logger.info) -> list[Record]:
    """Read data files or hub names as records for a task; says what each was taken for, and logs rows left out."""
    from finetune.data.sources.loader import load_data

    found: list[Record] = []
    for name in names:
        source = load_data(name, task=task)
        say(f"{name}: {source.format}, {source.kept:,} of {source.rows:,} rows")
        if source.problems:
            said = [f"row {problem.row}: {problem.problem}" for problem in source.problems[:3]]
            more = f" and {len(source.problems) - 3} more" if len(source.problems) > 3 else ""
            logger.warning("%s (%s): left out %s%s", name, source.format, "; ".join(said), more)
        found += source.records
    return found


def read_mixture(config: TrainConfig, task: Any, *, say: Say = logger.info) -> tuple[list[Record], list[Share]]:
    """Read data files and mix them by the run's weights; gives the records and the realised shares."""
    parts = {name: read_records([name], task, say=say) for name in config.data}
    mixture = mix(parts, dict(zip(config.data, map(float, config.weights), strict=True)), seed=config.seed)
    return mixture.records, mixture.shares


def _row_lines(prepared: Prepared) -> list[str]:
    lines = [share.sentence() for share in prepared.shares]
    for name, report in (("training", prepared.report), ("held-out", prepared.held_out_report)):
        if report is None:
            continue
        line = f"{report.rows:,} {name} rows, {report.tokens:,} tokens, {report.trained_tokens:,} in the loss"
        if report.truncated:
            line += f"; {report.truncated} truncated to max_length"
        for reason, count in report.dropped.items():
            line += f"; {count} dropped ({reason})"
        lines.append(line)
    return lines


def load_models(config: TrainConfig) -> tuple[Any, Any]:
    """Load the model to train and, for full preference training, the second one that is its reference."""
    from finetune.train import load as models

    if config.method == "full":
        if config.parent:
            weights = str(find_run(config.parent) / read_manifest(config.parent).adapter)
            config = replace(config, model=weights, revision="")
        model = models.add_adapter(models.load_base(config), config)
        if config.stage == "sft" or config.family == "free":
            return model, None
        if config.reference == "base" and config.parent:
            config = replace(config, model=read_manifest(config.parent).base)
        reference = models.load_base(config, for_training=False)
        reference.requires_grad_(False)
        return model, reference.eval()
    base = models.load_base(config)
    if config.parent:
        adapter = find_run(config.parent) / read_manifest(config.parent).adapter
        return models.load_adapter(base, adapter, trainable=True), None
    return models.add_adapter(base, config), None


def build_trainer(
    config: TrainConfig,
    folder: Path,
    model: Any,
    reference: Any,
    tokenizer: Any,
    template: Any,
    prepared: Prepared,
    notices: Say,
) -> tuple[Any, Any]:
    """Make the trainer with its callbacks; gives it and the callback that counts tokens."""
    from finetune.train import watch
    from finetune.train.preference import build_preference, reference_identity
    from finetune.train.sft import build_sft

    for line in watch.static_notices(config):
        notices(line)
    rails = watch.Rails(notices)
    recorder = watch.Recorder(folder, rails)
    callbacks: list[Any] = [recorder, watch.LastStep()]
    if config.prompts:
        callbacks.append(watch.Sampler(folder, config, tokenizer, template, rails))
    if config.stop_loss:
        callbacks.append(watch.StopAtLoss(config.stop_loss))
    if config.patience:
        from transformers import EarlyStoppingCallback

        callbacks.append(EarlyStoppingCallback(early_stopping_patience=config.patience))
    arguments = training_arguments(config, folder, evaluates=bool(prepared.held_out))
    if config.stage == "sft":
        trainer = build_sft(
            config, model, tokenizer, prepared.rows, prepared.held_out, arguments=arguments, callbacks=callbacks
        )
    else:
        adapter = find_run(config.parent) / read_manifest(config.parent).adapter if config.parent else None
        trainer = build_preference(
            config,
            model,
            reference,
            tokenizer,
            prepared.rows,
            prepared.held_out,
            arguments=arguments,
            callbacks=callbacks,
            identity=reference_identity(config, adapter),
        )
    from transformers import PrinterCallback, ProgressCallback

    trainer.remove_callback(PrinterCallback)  # prints to stdout, which belongs to results
    if not sys.stderr.isatty():
        trainer.remove_callback(ProgressCallback)
    return trainer, recorder


def training_arguments(config: TrainConfig, folder: Path, *, evaluates: bool) -> dict[str, Any]:
    """Give the arguments that all of TRL's trainers share."""
    import torch

    from finetune.train.load import compute_dtype

    dtype = compute_dtype(config)
    every = config.eval_every or config.save_every
    steps = {"eval_strategy": "no", "save_strategy": "epoch"}
    if evaluates:
        steps = {"eval_strategy": "steps" if config.eval_every else "epoch", "save_strategy": "epoch"}
    if every:
        steps["save_strategy"] = "steps"
    if evaluates and config.save_every and not config.eval_every:
        steps["eval_strategy"] = "steps"
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
        "torch_compile": config.compile,
        "seed": config.seed,
        "data_seed": config.seed,
        "logging_steps": config.log_every,
        "logging_first_step": True,
        **steps,
        **({"eval_steps": config.eval_every or config.save_every} if evaluates and every else {}),
        **({"save_steps": config.save_every or config.eval_every} if every else {}),
        "save_total_limit": config.keep_checkpoints,
        "load_best_model_at_end": evaluates,
        "metric_for_best_model": "eval_loss" if evaluates else None,
        "greater_is_better": False if evaluates else None,
        "report_to": list(config.trackers) or "none",
        "use_cpu": config.device == "cpu" or not torch.cuda.is_available(),
        "dataloader_pin_memory": torch.cuda.is_available() and config.device != "cpu",
        "disable_tqdm": not sys.stderr.isatty(),
        "ddp_find_unused_parameters": False,
    }


def _checkpoint(folder: Path) -> str | None:
    """Give the last whole checkpoint of a run; a folder that a kill cut short lacks the trainer's state."""
    found = [
        path
        for path in (folder / "checkpoints").glob("checkpoint-*")
        if (path / "trainer_state.json").is_file() and path.name.rsplit("-", 1)[1].isdigit()
    ]
    return str(max(found, key=lambda path: int(path.name.rsplit("-", 1)[1]))) if found else None


def save(config: TrainConfig, folder: Path, model: Any, tokenizer: Any, template: Any) -> None:
    """Write weights, tokenizer and template beside one another; never the frozen reference."""
    target = folder / "adapter"
    if config.method == "full":
        model.save_pretrained(target)
    else:
        model.save_pretrained(target, selected_adapters=["default"])
    tokenizer.chat_template = to_jinja(template)
    tokenizer.save_pretrained(target)
    save_template(template, target)
    (target / "README.md").unlink(missing_ok=True)  # a form of PEFT's with nothing filled in; the manifest says it all


def manifest_of(config: TrainConfig, template: str, command: Sequence[str]) -> RunManifest:
    """Write down what a run was made of."""
    return RunManifest(
        stage=config.stage,
        base=config.model,
        method=config.method,
        template=template,
        command=list(command),
        config=config.to_dict(),
        data=hash_files([*config.data, *config.eval_data]),
        versions=library_versions(),
        parent=config.parent,
        reference=config.reference if config.stage == "dpo" and config.family != "free" else "",
    )


def peak_memory_bytes() -> int:
    """Give the peak of the card's memory, or of this process where there is no card."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    import resource

    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def write_report(
    folder: Path,
    config: TrainConfig,
    trainer: Any,
    prepared: Prepared,
    seconds: float,
    tokens: float,
    trainable: int,
    notices: list[str],
) -> None:
    """Write report.json: what the run took and what came of it."""
    import torch

    history = trainer.state.log_history
    losses = [line["loss"] for line in history if "loss" in line]
    evals = [line["eval_loss"] for line in history if "eval_loss" in line]
    hours = seconds / 3600
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    report = {
        "stage": config.stage,
        "steps": trainer.state.global_step,
        "seconds": round(seconds, 3),
        "tokens": int(tokens),
        "tokens_per_second": round(tokens / seconds, 1) if tokens else None,
        "peak_memory_gb": round(peak_memory_bytes() / 2**30, 3),
        "trainable_parameters": trainable,
        "loss": {"first": losses[0] if losses else None, "last": losses[-1] if losses else None},
        "eval_loss": {"best": min(evals) if evals else None, "last": evals[-1] if evals else None},
        "best_checkpoint": Path(trainer.state.best_model_checkpoint).name
        if trainer.state.best_model_checkpoint
        else None,
        "last": {k: v for line in history for k, v in line.items() if isinstance(v, int | float)},
        "energy_kwh": round(config.watts * hours / 1000, 6) if config.watts else None,
        "price": round(config.price_per_hour * hours, 6) if config.price_per_hour else None,
        "rows": prepared.report.to_dict(),
        "mixture": [share.to_dict() for share in prepared.shares],
        "held_out_rows": prepared.held_out_report.to_dict() if prepared.held_out_report else None,
        "hardware": {"device": card, "processes": processes(), "threads": torch.get_num_threads()},
        "versions": library_versions(),
        "notices": notices,
    }
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")

"""The trainers of preference losses: DPO and variants, KTO, ORPO, CPO and SimPO.

With a parent run, training continues its adapter and a frozen copy of the adapter is the reference. Policy and
reference start equal, so the first sigmoid loss is ln 2. Precomputed log-probabilities of a reference are cached.
"""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

from finetune.config import TrainConfig
from finetune.data.encode import TokenRow, hash_rows
from finetune.errors import TrainingFailed
from finetune.runs.manifest import hash_weights
from finetune.train.context import Run
from finetune.train.device import compute_dtype, device_type
from finetune.train.load import REFERENCE, keep_adapters_in_fp32
from finetune.train.losses import LossSettings
from finetune.train.rows import Rows, datasets_of
from quire import home_folder, sha256_of_file, write_atomically


def build_preference(
    run: Run, model: Any, reference: Any, rows: Rows, *, arguments: dict[str, Any], callbacks: list[Any]
) -> Any:
    """Return the trainer for the run's loss.

    `reference` is a second model in full training, and None where adapters are the reference or there is none.
    """
    config = run.config
    training, held_out = datasets_of(rows, config)
    common = {
        "model": model,
        "processing_class": run.tokenizer,
        "callbacks": callbacks,
        "train_dataset": training,
        "eval_dataset": held_out,
    }
    build = _unpaired if config.kind == "unpaired" else _paired
    with keep_adapters_in_fp32(model):
        trainer = build(config, common, reference, arguments)
    needs_copy = config.kind != "reference-free" and config.reference == "parent"
    if not needs_copy and REFERENCE in getattr(model, "peft_config", {}):
        model.delete_adapter(REFERENCE)  # TRL's copy of the adapter; without it TRL uses the bare base
    if config.precompute_reference:
        for name, encoded in (("train_dataset", rows.training), ("eval_dataset", rows.held_out)):
            if encoded:
                setattr(trainer, name, _with_reference(trainer, getattr(trainer, name), encoded, config))
    return trainer


def _paired(config: TrainConfig, common: dict[str, Any], reference: Any, arguments: dict[str, Any]) -> Any:
    from trl import DPOConfig

    from finetune.train.trainers import DPOTrainer

    reference_free = config.kind == "reference-free"
    args = DPOConfig(
        **arguments,
        max_length=None,  # the rows are truncated
        # or TRL loads a second model
        precompute_ref_log_probs=reference_free and config.method == "full",
    )
    return DPOTrainer(
        args=args,
        ref_model=reference,
        weights=config.losses,
        settings=_loss_settings(config),
        reference_free=reference_free,
        **common,
    )


def _unpaired(config: TrainConfig, common: dict[str, Any], reference: Any, arguments: dict[str, Any]) -> Any:
    from trl import KTOConfig

    from finetune.train.trainers import KTOTrainer

    args = KTOConfig(
        **arguments,
        max_length=None,
        loss_type=config.loss,
    )
    return KTOTrainer(args=args, ref_model=reference, settings=_loss_settings(config), **common)


def _loss_settings(config: TrainConfig) -> LossSettings:
    return LossSettings(**{name: getattr(config, name) for name in LossSettings.__dataclass_fields__})


def _with_reference(trainer: Any, data: Any, rows: list[TokenRow], config: TrainConfig) -> Any:
    """Return a data set with the reference's log-probabilities, from the cache where these rows were scored before."""
    import numpy

    key = hashlib.sha256(f"{_reference_identity(config)}\0{config.kind}\0{hash_rows(rows)}".encode()).hexdigest()
    path = home_folder() / "cache" / "reference" / f"{key}.npz"
    is_cached = path.is_file()
    trainer.accelerator.wait_for_everyone()  # until all processes have looked; the first one may write then
    if not is_cached:
        first, second = _score(trainer, data)
        if trainer.accelerator.is_main_process:
            buffer = io.BytesIO()
            numpy.savez(buffer, first=first, second=second)
            write_atomically(path, buffer.getvalue())
        trainer.accelerator.wait_for_everyone()
    stored = numpy.load(path)
    if len(stored["first"]) != len(rows):
        raise TrainingFailed(f"{path} has {len(stored['first'])} rows, {len(rows)} are needed", "remove that file")
    unpaired = config.kind == "unpaired"
    names = ("ref_logps", "ref_KL_logps") if unpaired else ("ref_chosen_logps", "ref_rejected_logps")
    for name, values in zip(names, (stored["first"], stored["second"]), strict=True):
        data = data.add_column(name, values.tolist())
    if unpaired:
        trainer.precompute_ref_logps = True
    return data


def _reference_identity(config: TrainConfig) -> str:
    """Return a hash of what the reference is made of: the base, its precision, and the parent's adapter."""
    parent = hash_weights(config.parent) if config.parent and config.reference == "parent" else ""
    base = [_base_identity(config), config.method, str(compute_dtype(config)), device_type(config)]
    return hashlib.sha256(json.dumps([*base, parent]).encode()).hexdigest()


def _base_identity(config: TrainConfig) -> list[str]:
    """Return what identifies a base model: its commit on the hub; of a folder, its config and sizes and times of weights."""
    folder = Path(config.model)
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(config.model, "config.json", revision=config.revision or None)
        return [config.model, Path(cached).parent.name if isinstance(cached, str) else config.revision]
    weights = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.glob("*.safetensors"))]
    texts = [sha256_of_file(path) for path in sorted(folder.glob("*.json"))]
    return [*map(str, weights), *texts]


def _score(trainer: Any, data: Any) -> tuple[Any, Any]:
    """Return the reference's two log-probabilities of each row, as arrays of shape [rows].

    Batches are the rows in order; a value depends on its batch only by rounding. Every process scores all rows: the pass
    is short compared with training, and nothing has to be gathered in order.
    """
    import torch
    from torch.utils.data import DataLoader

    model = trainer.ref_model or trainer.model
    size = trainer.args.per_device_train_batch_size
    first, second = [], []
    for batch in DataLoader(data, batch_size=size, collate_fn=trainer.data_collator):
        moved = {k: v.to(trainer.accelerator.device) for k, v in batch.items() if hasattr(v, "to")}
        a, b = trainer.compute_ref_log_probs(model, moved)
        first.append(a.float().cpu())
        second.append(torch.zeros_like(a).cpu() if b is None else b.float().cpu())
    return torch.cat(first).numpy(), torch.cat(second).numpy()

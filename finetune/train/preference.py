"""Builds the trainers of preference training (DPO and its kin, KTO, ORPO, CPO, SimPO) and stores reference log-probabilities.

With a parent run, its adapter is trained on and a frozen copy of it is the reference: policy and reference start
equal, and the first sigmoid loss is ln 2.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from finetune.config import TrainConfig
from finetune.data.encode import TokenRow, hash_rows
from finetune.errors import TrainingFailed
from finetune.train.load import REFERENCE, computing, exact_weights
from finetune.train.losses import OURS
from quire import home_folder


def build_preference(
    config: TrainConfig,
    model: Any,
    reference: Any,
    tokenizer: Any,
    rows: list[TokenRow],
    held_out: list[TokenRow],
    *,
    arguments: dict[str, Any],
    callbacks: list[Any],
    identity: str,
) -> Any:
    """Make the trainer that the run's loss asks for.

    `reference` is a second model for full training, None where adapters stand for it. `identity` names the weights
    of the reference, for the cache of precomputed log-probabilities.
    """
    from datasets import Dataset

    common = {
        "model": model,
        "processing_class": tokenizer,
        "callbacks": callbacks,
        "train_dataset": Dataset.from_list(rows),
        "eval_dataset": Dataset.from_list(held_out) if held_out else None,
    }
    build = {"pair": _pair, "label": _label, "free": _free}[config.family]
    with exact_weights(model):
        trainer = build(config, common, reference, arguments)
    if config.reference == "base" and config.parent and REFERENCE in getattr(model, "peft_config", {}):
        model.delete_adapter(REFERENCE)  # TRL copied the parent's adapter; without the copy it takes the bare base
    if config.precompute_reference:
        for name in ("train_dataset", "eval_dataset"):
            data = getattr(trainer, name)
            if data is not None:
                given = rows if name == "train_dataset" else held_out
                setattr(trainer, name, with_reference(trainer, data, given, identity=identity))
    return trainer


def _pair(config: TrainConfig, common: dict[str, Any], reference: Any, arguments: dict[str, Any]) -> Any:
    from trl import DPOConfig

    from finetune.train.trainers import PairTrainer

    theirs = [name for name in config.losses if name not in OURS] or ["sigmoid"]
    args = DPOConfig(
        **arguments,
        max_length=None,  # cut already
        beta=config.beta,
        loss_type=theirs,
        label_smoothing=config.label_smoothing,
        discopop_tau=config.discopop_tau,
    )
    return PairTrainer(args=args, ref_model=reference, weights=config.losses, **common)


def _label(config: TrainConfig, common: dict[str, Any], reference: Any, arguments: dict[str, Any]) -> Any:
    from trl import KTOConfig

    from finetune.train.trainers import LabelTrainer

    args = KTOConfig(
        **arguments,
        max_length=None,
        beta=config.beta,
        loss_type=config.loss,
        desirable_weight=config.desirable_weight,
        undesirable_weight=config.undesirable_weight,
    )
    return LabelTrainer(args=args, ref_model=reference, **common)


def _free(config: TrainConfig, common: dict[str, Any], reference: Any, arguments: dict[str, Any]) -> Any:
    from finetune.train.trainers import ContrastTrainer, OddsTrainer

    shared = {**arguments, "remove_unused_columns": False, "max_length": config.max_length, "beta": config.beta}
    if config.loss == "orpo":
        from trl.experimental.orpo import ORPOConfig

        return OddsTrainer(args=ORPOConfig(**shared), **common)
    from trl.experimental.cpo import CPOConfig

    if config.loss == "simpo":
        args = CPOConfig(**shared, loss_type="simpo", simpo_gamma=config.simpo_gamma, cpo_alpha=0.0)
    else:
        args = CPOConfig(**shared, loss_type="sigmoid", cpo_alpha=1.0)
    return ContrastTrainer(args=args, **common)


def reference_identity(config: TrainConfig, adapter: Path | None) -> str:
    """Name the weights that a reference is made of: the base, its precision, and the hash of the parent's adapter."""
    digest = hashlib.sha256(
        json.dumps([config.model, config.revision, config.method, config.dtype, config.device]).encode()
    )
    if adapter is not None and config.reference == "parent":
        for path in sorted(adapter.glob("*.safetensors")):
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def with_reference(trainer: Any, data: Any, rows: list[TokenRow], *, identity: str) -> Any:
    """Add the reference's log-probabilities to a data set, from the cache where these rows were scored before.

    Batches are formed from rows in order; a reference value does not depend on them beyond rounding.
    """
    import numpy
    import torch
    from torch.utils.data import DataLoader

    kind = type(trainer).__name__
    key = hashlib.sha256(f"{identity}\0{kind}\0{hash_rows(rows)}".encode()).hexdigest()
    path = home_folder() / "cache" / "reference" / f"{key}.npz"
    main = trainer.accelerator.is_main_process
    missing = not path.is_file()
    trainer.accelerator.wait_for_everyone()  # all have looked before the first one writes
    if missing:
        model = trainer.ref_model or trainer.model
        size = trainer.args.per_device_train_batch_size
        first, second = [], []
        # every process scores all rows: the pass is short beside training, and no gathering can misorder it
        for batch in DataLoader(data, batch_size=size, collate_fn=trainer.data_collator):
            moved = {k: v.to(trainer.accelerator.device) for k, v in batch.items() if hasattr(v, "to")}
            with computing(model):
                a, b = trainer.compute_ref_log_probs(model, moved)
            first.append(a.float().cpu())
            second.append(torch.zeros_like(a).cpu() if b is None else b.float().cpu())
        if main:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            with part.open("wb") as stream:
                numpy.savez(stream, first=torch.cat(first).numpy(), second=torch.cat(second).numpy())
            part.replace(path)
        trainer.accelerator.wait_for_everyone()
    stored = numpy.load(path)
    if len(stored["first"]) != len(rows):
        raise TrainingFailed(f"{path} holds {len(stored['first'])} rows, {len(rows)} are needed", "remove that file")
    names = ("ref_logps", "ref_KL_logps") if kind == "LabelTrainer" else ("ref_chosen_logps", "ref_rejected_logps")
    for name, values in zip(names, (stored["first"], stored["second"]), strict=True):
        data = data.add_column(name, values.tolist())
    if kind == "LabelTrainer":
        trainer.precompute_ref_logps = True
    return data

"""Our trainers group rows by length when asked, in an order that a resumed run repeats."""

import hashlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from finetune.config import build
from finetune.data.records import Conversation, Preference, Record
from finetune.templates.messages import Message
from finetune.train.complete import complete
from finetune.train.context import Run
from finetune.train.load import add_adapter, load_base, load_tokenizer, template_of
from finetune.train.rows import prepare
from finetune.train.run import build_trainer


def records(stage: str) -> list[Record]:
    """Sixteen rows whose answers have 1 to 31 words."""
    found: list[Record] = []
    for i in range(16):
        prompt, answer = Message("user", f"{i}?"), Message("assistant", "moo " * (2 * i + 1))
        if stage == "sft":
            found.append(Conversation((prompt, answer), source="t", row=i))
        else:
            found.append(Preference((prompt,), (answer,), (Message("assistant", "no"),), source="t", row=i))
    return found


def batches(trainer: Any) -> list[list[int]]:
    """The lengths in each batch of the first epoch."""
    found = []
    for batch in trainer.get_train_dataloader():
        rows = (
            batch["cu_seq_lens_q"].diff().tolist()
            if "cu_seq_lens_q" in batch
            else batch["attention_mask"].sum(1).tolist()
        )
        found.append(rows[: len(rows) // 2] if "completion_mask" in batch else rows)  # chosen answers come first
    return found


def spread(lengths: Sequence[Sequence[int]]) -> int:
    return sum(max(batch) - min(batch) for batch in lengths)


@pytest.mark.parametrize("settings", [{"stage": "sft"}, {"stage": "dpo"}, {"stage": "dpo", "loss": "orpo"}], ids=str)
def test_grouped_batches_hold_rows_of_similar_length(
    settings: dict[str, Any], models: dict[str, str], home: Path, tmp_path: Path
) -> None:
    found = []
    for group in (False, True):
        common = {"model": models["qwen2"], "device": "cpu", "method": "lora", "batch_size": 2, "accumulation": 1,
                  "max_length": 256, "group_by_length": group}  # fmt: skip
        config = complete(build(common, settings))
        tokenizer = load_tokenizer(config.model)
        template = template_of(config, tokenizer)
        rows = prepare(config, template, tokenizer, records(config.stage))
        run = Run(config, tmp_path, template, tokenizer, lambda line: None)
        trainer, _ = build_trainer(run, add_adapter(load_base(config), config), None, rows)
        found.append(batches(trainer))
        assert sorted(n for batch in found[-1] for n in batch) == sorted(n for batch in found[0] for n in batch)
        if group:
            assert batches(trainer) == found[-1]
            sampler = trainer._get_train_sampler()
            orders = []
            for epoch in (0, 1, 0):
                sampler.set_epoch(epoch)
                orders.append(list(sampler))
            assert orders[0] == orders[2] != orders[1]
    assert spread(found[1]) < spread(found[0]) / 2


PRIVATE_PARTS = {
    "DPOTrainer.compute_ref_log_probs": "90611af9cbadb8ec",
    "DPOTrainer._compute_loss": "5e58a1699e0d76cd",
    "DPOTrainer.log": "e80e122cfe5fd8ad",
    "KTOTrainer.compute_ref_log_probs": "83c8d1cfdc4fab9d",
    "KTOTrainer._compute_loss": "70e5262bf7b4fc77",
    "KTOTrainer._compute_kl_logps": "ebc903a2f9f7cd83",
    "DataCollatorForPreference.torch_call": "0b8bb4c294bf8420",
    "add_fused_lm_head": "422d009f04b66659",
}


@pytest.mark.parametrize("name", PRIVATE_PARTS)
def test_the_parts_of_trl_that_ours_replace_or_rely_on_are_unchanged(name: str) -> None:
    """When this fails, read what changed in TRL, compare it with train/trainers.py, and write the new digest here."""
    from trl.trainer import dpo_trainer, kto_trainer, utils

    owner, _, method = name.rpartition(".")
    places = [vars(module) for module in (dpo_trainer, kto_trainer, utils)]
    found = next(place[owner or method] for place in places if (owner or method) in place)
    source = inspect.getsource(getattr(found, method) if owner else found)
    assert hashlib.sha256(source.encode()).hexdigest()[:16] == PRIVATE_PARTS[name]


def test_trl_is_pinned_to_the_minor_version_whose_private_parts_are_used() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert "trl>=1.16,<1.17" in project["project"]["optional-dependencies"]["finetune"]

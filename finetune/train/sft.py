"""Builds the trainer of supervised fine-tuning; what happens around it is in `training.py`."""

from typing import Any

from finetune.config import TrainConfig
from finetune.data.encode import TokenRow
from finetune.train.load import exact_weights


def build_sft(
    config: TrainConfig,
    model: Any,
    tokenizer: Any,
    rows: list[TokenRow],
    held_out: list[TokenRow],
    *,
    arguments: dict[str, Any],
    callbacks: list[Any],
) -> Any:
    """Make TRL's SFT trainer on rows that carry our labels; packed rows never attend to one another."""
    from datasets import Dataset
    from trl import SFTConfig

    from finetune.train.trainers import SupervisedTrainer

    # rows are encoded and cut already; TRL only packs them
    skip = {} if config.packing else {"dataset_kwargs": {"skip_prepare_dataset": True}}
    args = SFTConfig(
        **arguments,
        max_length=config.max_length,
        packing=config.packing,
        packing_strategy="bfd",
        eval_packing=False,
        shuffle_dataset=False,
        neftune_noise_alpha=config.neftune_alpha or None,
        **skip,
    )
    with exact_weights(model):
        return SupervisedTrainer(
            model=model,
            args=args,
            train_dataset=Dataset.from_list(rows),
            eval_dataset=Dataset.from_list(held_out) if held_out else None,
            processing_class=tokenizer,
            callbacks=callbacks,
        )

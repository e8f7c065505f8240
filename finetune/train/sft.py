"""The trainer of supervised fine-tuning."""

from typing import Any

from finetune.train.attention import is_padding_free
from finetune.train.context import Run
from finetune.train.load import keep_adapters_in_fp32
from finetune.train.rows import Rows, datasets_of


def build_sft(run: Run, model: Any, rows: Rows, *, arguments: dict[str, Any], callbacks: list[Any]) -> Any:
    """Return TRL's SFT trainer on rows with our labels; rows of one sequence do not attend to one another."""
    from trl import SFTConfig

    from finetune.train.trainers import SFTTrainer

    config = run.config
    # the rows are encoded and truncated; TRL only packs them
    skip = {} if config.packing else {"dataset_kwargs": {"skip_prepare_dataset": True}}
    args = SFTConfig(
        **arguments,
        max_length=config.max_length if config.packing else None,
        padding_free=is_padding_free(config),
        packing=config.packing,
        packing_strategy="bfd",
        eval_packing=False,
        shuffle_dataset=False,
        neftune_noise_alpha=config.neftune_alpha or None,
        **skip,
    )
    training, held_out = datasets_of(rows, config)
    with keep_adapters_in_fp32(model):
        return SFTTrainer(
            model=model,
            args=args,
            train_dataset=training,
            eval_dataset=held_out,
            processing_class=run.tokenizer,
            callbacks=callbacks,
        )

"""Settings are completed by the parent run, the device and the runs folder."""

from pathlib import Path

from finetune.config import build
from finetune.train.complete import complete


def test_packing_uses_one_sequence_per_pass_without_flash_attention(models: dict[str, str], home: Path) -> None:
    asked = build({"model": models["phi"], "packing": True, "batch_size": 4, "accumulation": 2, "device": "cpu"})
    done = complete(asked)
    assert (done.batch_size, done.accumulation) == (1, 8)

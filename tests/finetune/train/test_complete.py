"""Settings are completed by the parent run, the device and the runs folder."""

from pathlib import Path

from finetune.config import build
from finetune.train.complete import complete


def test_packed_rows_go_one_sequence_a_pass_where_only_a_mask_keeps_them_apart(
    models: dict[str, str], home: Path
) -> None:
    asked = build({"model": models["phi"], "packing": True, "batch_size": 4, "accumulation": 2, "device": "cpu"})
    done = complete(asked)
    assert (done.batch_size, done.accumulation) == (1, 8)

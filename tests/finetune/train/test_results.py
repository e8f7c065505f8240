"""The manifest records the data as they were read, not as they are when the run ends."""

import json
from pathlib import Path

from finetune.config import build
from finetune.data.records import Conversation
from finetune.data.sources.fingerprint import fingerprint
from finetune.runs.manifest import read_manifest
from finetune.train.run import train


def test_a_file_that_changes_during_training_is_recorded_as_it_was_read(
    models: dict[str, str], conversations: list[Conversation], home: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(record.to_dict()) + "\n" for record in conversations))
    before = fingerprint(str(rows))

    def change(line: str) -> None:
        if "training rows" in line:
            rows.write_text('{"text": "other"}\n')

    settings = {"model": models["qwen2"], "data": [str(rows)], "method": "lora", "device": "cpu", "max_steps": 1}
    run = train(build(settings, {"optimizer": "adamw_torch", "name": "one"}), progress=change)
    assert read_manifest(run).data == {str(rows): before}
    assert fingerprint(str(rows)) != before

"""What a run is made of, by content: a resumed run continues with the same data, base and parent."""

import hashlib
import json
from pathlib import Path

from finetune.config import TrainConfig
from finetune.data.sources.fingerprint import UNKNOWN
from finetune.runs.manifest import has_training, hash_weights
from quire import UsageError, sha256_of_file, strict_json, write_atomically

INPUTS_FILE = "inputs.json"


def keep_inputs(config: TrainConfig, folder: Path, data: dict[str, str]) -> None:
    """Write the hash of each input of a run, or compare it with what the run was started with.

    `data` has the fingerprint of each source. Raises UsageError that names what changed.
    """
    now = {**data, **_models(config)}
    path = folder / INPUTS_FILE
    if has_training(folder) and path.is_file():
        before = dict(json.loads(path.read_text(encoding="utf-8")))
        changed = [
            name
            for name in now
            if name in before and UNKNOWN not in (now[name], before[name]) and now[name] != before[name]
        ]
        if changed:
            raise UsageError(
                f"the run {config.name} was started with other content of {', '.join(changed)}",
                "put the content back that it was started with, or choose another --name",
            )
        now = {**before, **now}
    write_atomically(path, strict_json(now, indent=2) + "\n")


def _models(config: TrainConfig) -> dict[str, str]:
    found = {}
    base = Path(config.model).expanduser()
    if base.is_dir():
        found[config.model] = _hash_of_model(base)
    if config.parent:
        found[config.parent] = hash_weights(config.parent)
    return found


def _hash_of_model(folder: Path) -> str:
    """Return a hash of a model's config, tokenizer and weights."""
    digest = hashlib.sha256()
    names = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "template.json")
    files = [folder / name for name in names if (folder / name).is_file()]
    for file in (*files, *sorted(folder.glob("*.safetensors"))):
        digest.update(f"{file.name} {sha256_of_file(file)}\n".encode())
    return digest.hexdigest()

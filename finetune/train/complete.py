"""Settings completed with what the parent run, the device and the runs folder decide."""

import unicodedata
from pathlib import Path
from typing import Any

from finetune.config import TrainConfig, build
from finetune.data.sources.loader import require_source
from finetune.runs.manifest import find_run, read_manifest, runs_folder
from finetune.train.device import device_type, process_count
from quire import UsageError


def _no_model() -> UsageError:
    return UsageError("no model is given", "give --model, a --recipe that names one, or --parent RUN")


def require_data(config: TrainConfig) -> None:
    """Raise UsageError without a model or data or with training data as held-out data, or the error for a missing file.

    No library is loaded.
    """
    if not (config.model or config.parent):
        raise _no_model()
    if not config.data:
        raise UsageError("no data is given", "give files after the command, or `data` in the recipe")
    for name in (*config.data, *config.eval_data):
        require_source(name)
    if both := sorted(set(map(_resolve_path, config.data)) & set(map(_resolve_path, config.eval_data))):
        raise UsageError(
            f"{both[0]} is both trained on and held out",
            "hold out a share with --eval-share, or write two files with `quire finetune data convert`: --valid FILE of a "
            "file, --split NAME of a hub data set",
        )


def complete(config: TrainConfig) -> TrainConfig:
    """Return the settings with base model, method, template, name, and an optimizer for the device.

    Raises UsageError when no model is given.
    """
    values: dict[str, Any] = _from_parent(config) if config.parent else {}
    model = str(values.get("model") or config.model)
    if not model:
        raise _no_model()
    model = values["model"] = _resolve_path(model)
    values["data"] = tuple(map(_resolve_path, config.data))
    values["eval_data"] = tuple(map(_resolve_path, config.eval_data))
    if not config.parent and config.stage == "dpo":
        values["reference"] = "base"
    if config.optimizer.startswith("paged") and device_type(config) == "cpu":
        values["optimizer"] = "adamw_torch"  # paged optimizers need a GPU
    if not config.name:
        if process_count() > 1:
            raise UsageError("a run with several processes needs a name", "give --name")
        values["name"] = free_name(f"{Path(model).name.lower()}-{config.stage}")
    return build(config.to_dict(), values)


def _from_parent(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that the parent run decides: its base, template, method and adapter."""
    parent = read_manifest(config.parent)
    if config.model and _resolve_path(config.model) != _resolve_path(parent.base):
        raise UsageError(f"the base of the run {config.parent} is {parent.base}, not {config.model}", "remove --model")
    values: dict[str, Any] = {
        "parent": str(find_run(config.parent)),
        "model": parent.base,
        "revision": str(parent.config.get("revision", "")),
        "template": config.template or str(parent.config.get("template", "")),
        "system": config.system or str(parent.config.get("system", "")),
        "method": parent.method,
    }
    adapter = ("rank", "alpha", "targets", "rslora")
    values.update({name: parent.config[name] for name in adapter if name in parent.config})
    if "dropout" in parent.config:
        values["dropout"] = 0.0
    return values


def _resolve_path(name: str) -> str:
    """Return a model's or data file's absolute path, so that the run can be used from any folder; a hub name unchanged."""
    path = Path(name).expanduser()
    return str(path.resolve()) if path.exists() else name


def free_name(stem: str) -> str:
    """Return a name made of a text that no run has yet."""
    # names of runs are ASCII: an umlaut loses its dots, a letter without an ASCII form becomes a hyphen
    plain = "".join(c for c in unicodedata.normalize("NFKD", stem) if not unicodedata.combining(c))
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in plain).lstrip("._-") or "run"
    name, count = stem, 1
    while (runs_folder() / name).exists():
        count += 1
        name = f"{stem}-{count}"
    return name

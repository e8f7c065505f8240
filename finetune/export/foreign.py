"""Adapters of other tools: a PEFT LoRA adapter becomes a run, for every command that needs one."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune.config import TrainConfig, build
from finetune.errors import RunError, UnsupportedModel
from finetune.export.lora import LoraPair, check_base, find_base, read_adapter
from finetune.runs.contents import NAMES, kind_of, listing
from finetune.runs.manifest import RunManifest, library_versions, open_run, write_manifest
from finetune.safetensors_io import list_tensors
from finetune.templates.find import FILE_NAME, choose_template, save_template
from finetune.templates.jinja_and_go import to_jinja
from finetune.train.complete import free_name
from finetune.train.load import load_tokenizer
from quire import strict_json

ADAPTER_CONFIG = "adapter_config.json"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model")


def import_adapter(
    folder: Path,
    *,
    base: str = "",
    name: str = "",
    method: str = "lora",
    template: str = "",
    system: str = "",
    command: Sequence[str] = (),
) -> Path:
    """Make a run of a folder with a PEFT LoRA adapter, and return the folder of the run.

    `base` is its base model (empty: what the adapter names), `method` `qlora` if the base was loaded in 4 bits when the
    adapter was trained. The template is the stored, named or fitting one. Raises RunError for a folder with something else,
    UnsupportedModel for an adapter that cannot be merged exactly, WrongBase for one of another base, RunExists.
    """
    if kind_of(folder) != "adapter":
        kind = kind_of(folder) if folder.is_dir() else None
        found = NAMES[kind] if kind else (listing(folder) if folder.is_dir() else "nothing: it is not a folder")
        raise RunError(f"{folder} contains {found}", f"give a folder with a PEFT adapter ({ADAPTER_CONFIG})")
    pairs = read_adapter(folder)
    settings = dict(json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8")))
    model = base or str(settings.get("base_model_name_or_path") or "")
    if not model:
        raise UnsupportedModel(f"{folder} does not name its base model", "give it with --base")
    model = str(Path(model).expanduser().resolve()) if Path(model).expanduser().is_dir() else model
    config = _config(settings, pairs, model, name or free_name(f"{folder.resolve().name}-imported"), method)
    manifest = RunManifest("sft", model, method, "", list(command), {}, {}, library_versions())
    weights = find_base(manifest)
    check_base(pairs, list_tensors(weights), folder, weights)
    own = any((folder / file).is_file() for file in _TOKENIZER_FILES)
    tokenizer = load_tokenizer(str(folder if own else weights))
    stored = (folder / FILE_NAME).is_file() and not template
    fitted = choose_template(template, str(folder if stored else model), tokenizer, system=system)
    run = open_run(config.name, resume=False)
    target = run / "adapter"
    target.mkdir()
    for file in (folder / ADAPTER_CONFIG, *sorted(folder.glob("*.safetensors"))):
        shutil.copyfile(file, target / file.name)
    tokenizer.chat_template = to_jinja(fitted)
    tokenizer.save_pretrained(target)
    save_template(fitted, target)
    (run / "report.json").write_text(
        strict_json({"imported_from": str(folder.resolve())}, indent=2) + "\n", encoding="utf-8"
    )
    config = build(config.to_dict(), {"template": template, "system": system})
    made = RunManifest("sft", model, method, fitted.name, list(command), config.to_dict(), {}, library_versions())
    write_manifest(run, made)
    return run


def _config(settings: dict[str, Any], pairs: dict[str, LoraPair], model: str, name: str, method: str) -> TrainConfig:
    """Return the settings of the run: those of the adapter that a later stage continues with."""
    targets = sorted({weight.split(".")[-2] for weight in pairs})
    values: dict[str, Any] = {
        "stage": "sft",
        "model": model,
        "name": name,
        "method": method,
        "rank": int(settings["r"]),
        "alpha": settings["lora_alpha"],
        "rslora": bool(settings.get("use_rslora")),
        "targets": targets,
        "dropout": float(settings.get("lora_dropout") or 0.0),
    }
    return build(values)

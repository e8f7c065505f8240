"""The model card of a pushed run: data and licenses, recipe, curves, evaluation, how to run it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.config import TrainConfig
from finetune.data.catalog import CATALOG
from finetune.runs.manifest import RunManifest

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

_LIBRARY = {"adapter": "peft", "merged": "transformers", "gguf": "gguf"}
_LOCAL_SETTINGS = (
    "data",
    "eval_data",
    "parent",
    "model",
    "name",
    "prompts",
)  # paths of this machine, or shown elsewhere


def model_card(folder: Path, manifest: RunManifest, what: str, figures: dict[str, Any], *, name: str) -> "ModelCard":
    """Return the card of a run's adapter, merged model or GGUF (`what`), with measured `figures`, titled `name`."""
    from huggingface_hub import ModelCard, ModelCardData

    base = base_name(manifest)
    metadata = ModelCardData(
        base_model=base,
        library_name=_LIBRARY[what],
        pipeline_tag="text-generation",
        tags=["quire", manifest.stage, manifest.method],
    )
    template = "is inside the GGUF file" if what == "gguf" else "is beside the weights as `template.json`"
    lines = [
        f"# {name}",
        "",
        f"{base}, fine-tuned by {manifest.stage.upper()} ({manifest.method}) on {manifest.created[:10]}."
        f" The prompt template `{manifest.template}` {template}.",
        "",
        "## Data and licenses",
        "",
        *_table(
            ("source", "license", "SHA-256"),
            [(_file_name(name), license_of(name), f"`{digest[:16]}`") for name, digest in manifest.data.items()],
        ),
        "The base model's own license applies to these weights as well.",
        "",
        "## Recipe",
        "",
        *_table(("setting", "value"), list(_recipe(manifest).items())),
        f"Versions: {', '.join(f'{library} {version}' for library, version in manifest.versions.items())}.",
        "",
        "## Training and evaluation",
        "",
        *(["![curves](curves.png)", ""] if (folder / "curves.png").is_file() else []),
        *_table(("figure", "value"), [(key, _short(value)) for key, value in (_report(folder) | figures).items()]),
        "## How to run",
        "",
        "```",
        *_commands(what, name),
        "```",
        "",
    ]
    return ModelCard(f"---\n{metadata.to_yaml()}\n---\n" + "\n".join(lines))


def base_name(manifest: RunManifest) -> str:
    """Return the base model's name without folders of this machine."""
    return _file_name(manifest.base)


def _file_name(name: str) -> str:
    return Path(name).name if Path(name).is_absolute() else name


def license_of(name: str) -> str:
    """Return the license of a public data set; for other data, that only its owner knows."""
    for entry in CATALOG:
        if name in (entry.name, entry.hub):
            return str(entry.licence)
    return "not stated; ask the owner of the data"


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return [*("| " + " | ".join(map(str, cells)) + " |" for cells in lines), ""]


def _report(folder: Path) -> dict[str, Any]:
    """Return the plain figures of the run's report."""
    path = folder / "report.json"
    report = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {key: value for key, value in report.items() if isinstance(value, int | float | str)}


def _recipe(manifest: RunManifest) -> dict[str, Any]:
    """Return the settings that differ from the defaults."""
    defaults = TrainConfig().to_dict()
    return {k: v for k, v in manifest.config.items() if k not in _LOCAL_SETTINGS and defaults.get(k) != v}


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value) if isinstance(value, dict) else str(value).replace("|", "/")


def _commands(what: str, name: str) -> list[str]:
    pull = f"quire finetune pull OWNER/{name} --out {name}"
    if what == "gguf":
        return [
            pull,
            f'quire ask --model gguf:{name}/FILE.gguf "What ...?"',
            f"cd {name} && ollama create {name} -f Modelfile",
        ]
    if what == "merged":
        return [pull, f'quire ask --model hf:{name} "What ...?"']
    return [pull, "# in Python: PeftModel.from_pretrained(base, FOLDER), prompts from the tokenizer's chat template"]

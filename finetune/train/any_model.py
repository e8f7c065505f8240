"""Any model that people have: a run, a PEFT adapter, a model folder, a GGUF file, or a hub name."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.config import build
from finetune.errors import ModelUnavailable, NoSuchRun, TemplateError
from finetune.hub_access import download_adapter
from finetune.runs.contents import NAMES, Kind, kind_of, listing
from finetune.runs.manifest import MANIFEST_FILE, find_run, read_manifest, run_of_checkpoint
from finetune.templates.chat_template import AnswerTemplate, ChatTemplate, chat_template_of
from finetune.templates.find import FILE_NAME as TEMPLATE_FILE
from finetune.templates.find import choose_template
from finetune.train.libraries import quiet_libraries, require_libraries
from finetune.train.load import LoadedModel, load_adapter, load_base, load_run, load_tokenizer

_USABLE = (
    "give a finished run, a folder with a PEFT adapter (adapter_config.json), with a model (config.json) or with a"
    " .gguf file, or the name of a model on the hub (OWNER/NAME)"
)
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")


@dataclass(frozen=True, slots=True)
class FoundModel:
    """What a name means; `place` is a folder, a GGUF file, or a name on the hub."""

    kind: Kind
    place: str


def find_model(name: str | Path) -> FoundModel:
    """Return what a name means: a folder or GGUF file, the name of a run, or a model or adapter on the hub.

    Raises NoSuchRun, UnfinishedRun, or ModelUnavailable for a folder with none of these; each says what would be usable.
    """
    path = Path(name).expanduser()
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise ModelUnavailable(f"{path} is a file, and not a .gguf file", _USABLE)
        return FoundModel("gguf", str(path.resolve()))
    if not path.is_dir() and _is_hub_name(str(name)):
        adapter = download_adapter(str(name))
        return FoundModel("adapter", str(adapter)) if adapter else FoundModel("model", str(name))
    try:
        folder = find_run(name)
    except NoSuchRun as exc:
        raise NoSuchRun(exc.message, f"{exc.hint}; or {_USABLE}") from exc
    owner = run_of_checkpoint(folder)
    kind = "run" if owner and (owner / MANIFEST_FILE).is_file() else kind_of(folder)
    if kind == "gguf":
        return FoundModel("gguf", str(_only_gguf(folder)))
    if kind is None:
        if (folder / "config.toml").is_file():
            read_manifest(folder)  # raises UnfinishedRun
        raise _unusable(folder)
    return FoundModel(kind, str(folder))


def load_model(name: str | Path, *, device: str = "auto", base: str = "", chat: bool = True) -> LoadedModel:
    """Return the model of any name that `find_model` knows, with its tokenizer and template.

    `base` is the base model of a run or an adapter when it has moved. Without `chat`, a model for which no template is
    known is loaded too, to continue texts. Raises what `find_model` raises, TemplateError, and ModelUnavailable for
    weights that cannot be loaded, also for those in pickle files, which could run code.
    """
    found = find_model(name)
    if found.kind == "run":
        return load_run(found.place, device=device, base=base)
    require_libraries()
    quiet_libraries()
    if found.kind == "adapter":
        return _load_foreign_adapter(Path(found.place), device, base, chat)
    if found.kind == "gguf":
        return _load_gguf(Path(found.place), device, chat)
    tokenizer = load_tokenizer(found.place)
    config = build({"model": found.place, "method": "lora", "device": device})
    model = load_base(config, for_training=False)
    return LoadedModel(model.eval(), tokenizer, _template(found.place, tokenizer, chat), found.place)


# -- names and folders


def _is_hub_name(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and not name.endswith("/")


def _only_gguf(folder: Path) -> Path:
    files = sorted(folder.glob("*.gguf"))
    if len(files) > 1:
        raise ModelUnavailable(
            f"{folder} contains {len(files)} GGUF files", f"give one of them: {', '.join(path.name for path in files)}"
        )
    return files[0]


def _unusable(folder: Path) -> ModelUnavailable:
    for child in sorted(path for path in folder.iterdir() if path.is_dir()):
        if kind := kind_of(child):
            return ModelUnavailable(f"{folder} contains {listing(folder)}", f"{NAMES[kind]} is in it: give {child}")
    return ModelUnavailable(f"{folder} contains {listing(folder)}, and no model", _USABLE)


# -- adapters, GGUF files, templates


def _load_foreign_adapter(folder: Path, device: str, base: str, chat: bool) -> LoadedModel:
    settings = _read_json(folder / "adapter_config.json")
    _require_safetensors(folder)
    name = base or str(settings.get("base_model_name_or_path") or "")
    hint = "give the base model's folder or hub name with --base"
    if not name:
        raise ModelUnavailable(f"the adapter {folder} does not name its base model", hint)
    if name.startswith((".", "/", "~")) and not Path(name).expanduser().is_dir():
        raise ModelUnavailable(f"the base model of the adapter {folder} is not in {name}", hint)
    revision = "" if base else str(settings.get("revision") or "")
    # a push of quire says whether the base was in 4 bits; adapters of other tools do not
    method = _read_json(folder / "quire.json").get("method", "lora")
    config = build({"model": name, "revision": revision, "method": method, "device": device})
    own_tokenizer = any((folder / file).is_file() for file in _TOKENIZER_FILES)
    tokenizer = load_tokenizer(str(folder)) if own_tokenizer else load_tokenizer(name, revision)
    has_ours = (folder / TEMPLATE_FILE).is_file()
    template: AnswerTemplate
    if own_tokenizer and tokenizer.chat_template and not has_ours:
        template = chat_template_of(tokenizer, str(folder))
    else:
        template = _template(str(folder) if has_ours else name, tokenizer, chat)
    try:
        model = load_adapter(load_base(config, for_training=False), folder, trainable=False)
    except (RuntimeError, ValueError) as exc:
        raise ModelUnavailable(f"the adapter {folder} does not fit its base {name}: {_first_line(exc)}", hint) from exc
    return LoadedModel(model.eval(), tokenizer, template, name)


def _require_safetensors(folder: Path) -> None:
    if (folder / "adapter_model.safetensors").is_file():
        return
    pickled = folder / "adapter_model.bin"
    if pickled.is_file():
        raise ModelUnavailable(
            f"{pickled} is a pickle file, which can run code when it is read",
            "save the adapter again as safetensors: PEFT's save_pretrained does so by default",
        )
    raise ModelUnavailable(
        f"{folder} has no adapter_model.safetensors; it contains {listing(folder)}", "copy the adapter's weights there"
    )


def _load_gguf(path: Path, device: str, chat: bool) -> LoadedModel:
    """Return a GGUF file's model, its weights dequantized by transformers."""
    tokenizer = load_tokenizer(str(path.parent), gguf_file=path.name)
    config = build({"model": str(path.parent), "method": "lora", "device": device})
    model = load_base(config, for_training=False, gguf_file=path.name)
    template = _template(str(path.parent), tokenizer, chat)
    return LoadedModel(model.eval(), tokenizer, template, str(path))


def _template(model: str, tokenizer: Any, chat: bool) -> AnswerTemplate:
    """Return the template of a model folder or hub name: ours if it is known, else the tokenizer's."""
    try:
        return choose_template("", model, tokenizer)
    except TemplateError:
        if tokenizer.chat_template:
            return chat_template_of(tokenizer, model)
        if chat or not tokenizer.eos_token:
            raise
        return ChatTemplate(tokenizer.eos_token, (tokenizer.eos_token,))  # only its end token is used


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing file is an empty one."""
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as exc:
        raise ModelUnavailable(f"{path} cannot be read: {exc}", "copy it again") from exc
    return values if isinstance(values, dict) else {}


def _first_line(exc: Exception) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    # torch lists each mismatch on a line of its own, after a heading
    return " ".join(lines[:2])[:300] if lines else type(exc).__name__

"""The template of a model: the named, stored or fitting one, with an end token that the model has."""

import json
import re
from pathlib import Path
from typing import Any

from finetune.errors import TemplateError
from finetune.templates.builtin import TEMPLATE_NAMES, TEMPLATES, get_template
from finetune.templates.own import like_own
from finetune.templates.template import Template

FILE_NAME = "template.json"
_HINT = "name a template with --template"
_FAMILY_PATTERNS = (
    (r"^qwen2(\.5)?\b|^qwen2\.5", "qwen2"), (r"^phi-?2\b|^phi-?1", "phi"), (r"zephyr|tinyllama.*chat", "zephyr"),
    (r"llama-?2", "llama-2"), (r"llama-?3.*instruct", "llama-3"), (r"mistral-7b-instruct-v0\.3", "mistral-v3"),
    (r"mistral-7b-instruct", "mistral"), (r"alpaca", "alpaca"), (r"guanaco", "guanaco"),
)  # fmt: skip
# What the chat template beside a Llama or Mistral model contains, by our template of the same format.
_CHAT_TEMPLATE_MARKS = (
    ("<|start_header_id|>", "llama-3"), ("<<SYS>>", "llama-2"), ("[INST] ", "mistral"), ("<|user|>\\n", "zephyr"),
    ("<|user|>\n", "zephyr"),
)  # fmt: skip


def save_template(template: Template, folder: Path) -> Path:
    """Write `template.json` into a folder and return its path."""
    path = folder / FILE_NAME
    path.write_text(json.dumps(template.to_dict(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return path


def load_template(folder: Path) -> Template:
    """Read the `template.json` beside an adapter or a model."""
    path = folder / FILE_NAME
    if not path.exists():
        raise TemplateError(f"{folder} has no {FILE_NAME}", _HINT)
    values = _read_json(path)
    if not values:
        raise TemplateError(f"{path} is not a template", _HINT)
    return Template.from_dict(values)


def choose_template(name: str, model: str, tokenizer: Any, *, system: str = "") -> Template:
    """Return the template of this name, or else of the model, with an end token that the tokenizer has.

    A template whose end token the tokenizer lacks, as Qwen2.5 and Phi-2 lack Alpaca's `</s>`, ends answers with the
    tokenizer's own. Without a tokenizer (None), the end token stays. A template that is not named takes over the default
    system message of the tokenizer's chat template. `system` replaces the template's default system
    message. Raises TemplateError.
    """
    template = get_template(name) if name else find_template(model)
    own = getattr(tokenizer, "eos_token", None)
    if own and template.end_token not in tokenizer.get_added_vocab():
        template = template.with_end_token(str(own))
    if system:
        return template.with_system(system)
    is_stored = (Path(model).expanduser() / FILE_NAME).is_file()
    return template if name or is_stored else like_own(template, tokenizer)


def describe_end(template: Template) -> str:
    """Return one line on the end token of a template, for progress."""
    line = f"template {template.name}: answers end with {template.end_token}"
    published = TEMPLATES.get(template.name, template).end_token
    return line if published == template.end_token else f"{line}, the tokenizer's own end token (it has no {published})"


def find_template(model: str | Path) -> Template:
    """Return the template of a model, given by folder or by name.

    A folder's `template.json` comes first. A Qwen2 model counts as an instruct model if its end token is
    `<|im_end|>` or, without a tokenizer, if its name says so. The template of a Llama or Mistral model is recognized by
    the chat template beside it, else by the name. Raises TemplateError if no template fits.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return _template_of_folder(folder)
    return _template_of_family(_family_of_name(str(model)), str(model), end_token=None)


def _template_of_folder(folder: Path) -> Template:
    if (folder / FILE_NAME).exists():
        return load_template(folder)
    kind = str(_read_json(folder / "config.json").get("model_type", ""))
    tokenizer = _read_json(folder / "tokenizer_config.json")
    end = tokenizer.get("eos_token")
    end = end.get("content") if isinstance(end, dict) else end
    if kind not in ("llama", "mistral"):
        return _template_of_family(kind, folder.name, end_token=end)
    family = _family_of_chat_template(folder, tokenizer) or _family_of_name(folder.name)
    if family not in TEMPLATES:
        raise _unknown(folder.name, kind)
    return TEMPLATES[family]


def _family_of_chat_template(folder: Path, tokenizer: dict[str, Any]) -> str:
    path = folder / "chat_template.jinja"
    text = path.read_text(encoding="utf-8") if path.is_file() else tokenizer.get("chat_template")
    if not isinstance(text, str):
        return ""
    family = next((family for mark, family in _CHAT_TEMPLATE_MARKS if mark in text), "")
    if family == "mistral" and _has_token(folder, "[INST]"):
        return "mistral-v3"
    return family


def _has_token(folder: Path, token: str) -> bool:
    added = _read_json(folder / "tokenizer.json").get("added_tokens", [])
    return any(entry["content"] == token for entry in added)


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing file or another JSON value is an empty one."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise TemplateError(f"{path} cannot be read: {exc}", _HINT) from exc
    return values if isinstance(values, dict) else {}


def _family_of_name(name: str) -> str:
    last_part = name.rsplit("/", 1)[-1].lower()
    return next((family for pattern, family in _FAMILY_PATTERNS if re.search(pattern, last_part)), "")


def _template_of_family(family: str, name: str, *, end_token: str | None) -> Template:
    if family == "qwen2":
        instruct = end_token == "<|im_end|>" if end_token else bool(re.search(r"instruct|chat", name, re.I))  # noqa: S105
        return TEMPLATES["chatml" if instruct else "chatml-base"]
    if family == "phi":
        return TEMPLATES["phi-2"]
    if family in TEMPLATES:
        return TEMPLATES[family]
    raise _unknown(name, family)


def _unknown(name: str, kind: str) -> TemplateError:
    return TemplateError(
        f"no template is known for {name!r} (model type {kind or 'unknown'!r})",
        f"name one with --template: {', '.join(TEMPLATE_NAMES)}",
    )

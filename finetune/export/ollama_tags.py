"""The record of each model exported to Ollama, by which the assistant knows a tuned model."""

import json
import re
import urllib.parse
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quire import UsageError, home_folder, strict_json, write_atomically

QUANTIZATIONS = ("F16", "Q8_0", "Q4_K_S", "Q4_K_M")
_TAG = re.compile(r"^(?:[A-Za-z0-9][A-Za-z0-9._-]*/){0,2}[A-Za-z0-9][A-Za-z0-9._-]{0,79}(?::[A-Za-z0-9_.-]{1,80})?$")


@dataclass(frozen=True, slots=True)
class TagRecord:
    """Where a model in Ollama came from, and how it compared with the trained model."""

    tag: str
    base: str
    data: dict[str, str]  # sha256 by file
    run: str
    quantization: str
    parity: dict[str, Any]
    template: str = ""
    digest: str = ""  # of the model in Ollama
    onto: str = ""  # what the adapter was merged into, as `merge.json` spells it
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def models_folder() -> Path:
    """Return the folder of the records."""
    return home_folder() / "models"


def record_path(tag: str) -> Path:
    """Return the file of a tag's record, in whatever spelling it was written; %XX are characters that files cannot have."""
    path = models_folder() / (urllib.parse.quote(full_tag(tag), safe="") + ".json")
    if path.is_file() or not models_folder().is_dir():
        return path
    same = (
        other for other in sorted(models_folder().glob("*.json")) if same_tag(urllib.parse.unquote(other.stem), tag)
    )
    return next(same, path)


def same_tag(one: str, other: str) -> bool:
    """Return whether two tags are one model to Ollama, which does not tell capitals from small letters."""
    return _comparable(one) == _comparable(other)


def find_tag(tag: str, tags: Iterable[str]) -> str:
    """Return the tag of a list that is the same model to Ollama, in its spelling there; "" without one."""
    return next((other for other in tags if same_tag(other, tag)), "")


def _comparable(tag: str) -> str:
    name = tag.casefold()
    for prefix in ("https://", "http://", "registry.ollama.ai/", "library/"):
        name = name.removeprefix(prefix)
    return name if ":" in name.rsplit("/", 1)[-1] else name + ":latest"


def full_tag(tag: str) -> str:
    """Return a tag in full, as Ollama lists it; raises UsageError for a name that Ollama would reject."""
    if not _TAG.match(tag):
        raise UsageError(f"{tag!r} is not a valid model name", "use letters, digits, '.', '_', '-', at most one ':'")
    return tag if ":" in tag.rsplit("/", 1)[-1] else tag + ":latest"


def check_quantization(name: str) -> str:
    """Return a quantization's name as GGUF spells it; raises UsageError for one that is not supported."""
    if name.upper() not in QUANTIZATIONS:
        raise UsageError(f"{name!r} is not a supported quantization", f"use one of {', '.join(QUANTIZATIONS)}")
    return name.upper()


def write_record(record: TagRecord) -> Path:
    """Write a record and return its path."""
    path = record_path(record.tag)
    write_atomically(path, strict_json(asdict(record), indent=2) + "\n")
    return path


def read_records() -> list[dict[str, Any]]:
    """Return every record, by tag; one that cannot be read has its `tag` and the `problem`."""
    found = []
    for path in sorted(models_folder().glob("*.json")):
        try:
            record = dict(json.loads(path.read_text(encoding="utf-8")))
            missing = [name for name in ("tag", "base", "run", "quantization", "date") if name not in record]
            if missing:
                raise ValueError(f"it lacks {', '.join(missing)}")
            found.append(record)
        except (OSError, ValueError, TypeError) as exc:
            found.append({"tag": urllib.parse.unquote(path.stem), "problem": f"{path} cannot be read: {exc}"})
    return found

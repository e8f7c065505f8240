"""What a folder contains: a run, a PEFT adapter, a model or a GGUF file, told by its files."""

from pathlib import Path
from typing import Literal

Kind = Literal["run", "adapter", "model", "gguf"]

_MARKS: tuple[tuple[str, Kind], ...] = (
    ("adapter_config.json", "adapter"),
    ("config.json", "model"),
    ("manifest.json", "run"),
    ("*.gguf", "gguf"),
)
NAMES: dict[Kind, str] = {
    "run": "a finished run",
    "adapter": "a PEFT adapter",
    "model": "a model",
    "gguf": "a GGUF file",
}


def kind_of(folder: Path) -> Kind | None:
    """Return what a folder contains; None for anything else, also for an unfinished run."""
    return next((kind for pattern, kind in _MARKS if any(folder.glob(pattern))), None)


def listing(folder: Path, *, limit: int = 5) -> str:
    """Return the first names in a folder, for an error."""
    names = sorted(path.name for path in folder.iterdir())
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more if names else "nothing"

"""The record that a training run ended, and what went into it: written last, so that a folder without it is unfinished."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from finetune.errors import NoSuchRun, RunError, RunExists, UnfinishedRun
from quire import home_folder

MANIFEST_FILE = "manifest.json"
LIBRARIES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets", "tokenizers")


def runs_folder() -> Path:
    """Return the folder that training runs are in."""
    return home_folder() / "runs"


@dataclass(frozen=True, slots=True)
class RunManifest:
    """What a finished run was made of: command, settings, hashes of the data, versions, the run it continues."""

    stage: str
    base: str  # model that the adapter sits on
    method: str
    template: str
    command: list[str]
    config: dict[str, Any]
    data: dict[str, str]  # sha256 by file or hub name
    versions: dict[str, str]
    parent: str = ""  # folder of the run whose adapter was trained on
    reference: str = ""  # what preference training compared with: parent or base
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    adapter: str = "adapter"  # folder with the weights, tokenizer and template, relative to the run


def library_versions() -> dict[str, str]:
    """Give the versions of the libraries that shape a training run; those not installed are left out."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hash_files(names: Iterable[str]) -> dict[str, str]:
    """Give the SHA-256 of each file; a name that is no file (a hub name) is hashed as its name, marked so."""
    found = {}
    for name in names:
        path = Path(name)
        if not path.is_file():
            found[name] = "name:" + hashlib.sha256(name.encode()).hexdigest()
            continue
        with path.open("rb") as stream:
            found[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def write_manifest(folder: Path, manifest: RunManifest) -> Path:
    """Write the manifest in one step: it is there whole or not at all."""
    part = folder / (MANIFEST_FILE + ".part")
    part.write_text(json.dumps(asdict(manifest), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return part.replace(folder / MANIFEST_FILE)


def find_run(run: str | Path) -> Path:
    """Give the folder of a run by path or by name under runs/.

    Raises NoSuchRun with the runs there are.
    """
    for folder in (Path(run).expanduser(), runs_folder() / str(run)):
        if folder.is_dir():
            return folder.resolve()
    there = sorted(p.name for p in runs_folder().glob("*") if p.is_dir()) if runs_folder().is_dir() else []
    known = f"runs here: {', '.join(there)}" if there else "start one with `quire finetune sft`"
    raise NoSuchRun(f"there is no run {str(run)!r} in {runs_folder()}", known)


def read_manifest(run: str | Path) -> RunManifest:
    """Read the manifest of a finished run.

    Raises NoSuchRun, or UnfinishedRun when the folder has no manifest: an unfinished run is no input of any stage.
    """
    folder = find_run(run)
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise UnfinishedRun(
            f"the run {folder.name} did not finish: it has no {MANIFEST_FILE}",
            "continue it by the command that started it, with --resume",
        )
    try:
        return RunManifest(**json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, TypeError) as exc:
        raise RunError(f"{path} cannot be read: {exc}", "train the run again") from exc


def trained_on(folder: Path) -> bool:
    """Say whether anything was trained in a run's folder: a checkpoint, weights, or a line of metrics."""
    return any(folder.glob("checkpoints/checkpoint-*")) or any(
        (folder / name).exists() for name in ("metrics.jsonl", "adapter")
    )


def open_run(name: str, *, resume: bool) -> Path:
    """Make (or, to continue, find) the folder of a run that is about to be trained.

    Raises RunExists for a finished run, or for an unfinished one that `resume` does not ask for.
    """
    folder = runs_folder() / name
    if (folder / MANIFEST_FILE).is_file():
        raise RunExists(f"the run {name} is finished: {folder}", "choose another --name, or remove the folder")
    if trained_on(folder) and not resume:
        raise RunExists(
            f"the run {name} was started before and did not finish", "add --resume, or choose another --name"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder

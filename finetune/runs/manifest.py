"""The manifest of a training run, written last: a folder without one is unfinished."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from finetune.errors import NoSuchRun, RunError, RunExists, UnfinishedRun
from finetune.runs.contents import NAMES, kind_of
from quire import home_folder, sha256_of_file, strict_json, write_atomically

MANIFEST_FILE = "manifest.json"
CHECKPOINTS = "checkpoints"  # folder in a run
LIBRARIES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets", "tokenizers")


def runs_folder() -> Path:
    """Return the folder that training runs are in."""
    return home_folder() / "runs"


@dataclass(frozen=True, slots=True)
class RunManifest:
    """What went into a finished run: command, settings, hashes of the data, versions, the run it continues."""

    stage: str
    base: str  # model that the adapter belongs to
    method: str
    template: str
    command: list[str]
    config: dict[str, Any]
    data: dict[str, str]  # fingerprint by file, folder or hub name
    versions: dict[str, str]
    parent: str = ""  # folder of the run, or of its checkpoint, whose weights were trained further
    reference: str = ""  # of preference training: parent or base
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    adapter: str = "adapter"  # folder with the weights, tokenizer and template, relative to the run
    parent_sha256: str = ""  # of the parent's weights; empty without a parent
    dtype: str = ""  # in which the run computed: bfloat16, float16 or float32; empty in runs of older versions
    device: str = ""  # on which: cuda or cpu
    attention: str = ""  # its implementation, by the name under which transformers has it


def trained_dtype(folder: Path, manifest: RunManifest) -> str:
    """Return the type in which a run computed and loaded its base: 4-bit rounding starts from it.

    Runs of older versions did not record it; where theirs was `auto`, whether report.json has a GPU decides.
    """
    if manifest.dtype:
        return manifest.dtype
    names = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
    if named := names.get(str(manifest.config.get("dtype", "auto"))):
        return named
    if manifest.config.get("device") == "cpu":
        return "float32"
    report = folder / "report.json"
    hardware = json.loads(report.read_text(encoding="utf-8")).get("hardware", "") if report.is_file() else ""
    return "bfloat16" if any(w in json.dumps(hardware).lower() for w in ("nvidia", "cuda", "geforce")) else "float32"


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that affect a training run, as far as they are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def write_manifest(folder: Path, manifest: RunManifest) -> Path:
    """Write the manifest atomically and return its path."""
    path = folder / MANIFEST_FILE
    write_atomically(path, strict_json(asdict(manifest), indent=2) + "\n")
    return path


def find_run(run: str | Path) -> Path:
    """Return the folder of a run, given by path or by name, or of a checkpoint: RUN@20, or its path.

    Raises NoSuchRun, which lists the existing runs, or the run's checkpoints.
    """
    for folder in (Path(run).expanduser(), runs_folder() / str(run)):
        if folder.is_dir():
            return folder.resolve()
    name, mark, step = str(run).rpartition("@")
    if mark and step.isdigit():
        return _find_checkpoint(find_run(name), step)
    names = sorted(p.name for p in runs_folder().glob("*") if p.is_dir()) if runs_folder().is_dir() else []
    known = f"the runs are {', '.join(names)}" if names else "start one with `quire finetune sft`"
    raise NoSuchRun(f"there is no run {str(run)!r} in {runs_folder()}", known)


def _find_checkpoint(folder: Path, step: str) -> Path:
    found = folder / CHECKPOINTS / f"checkpoint-{step}"
    if found.is_dir():
        return found
    steps = sorted(int(path.name.rsplit("-", 1)[1]) for path in (folder / CHECKPOINTS).glob("checkpoint-*"))
    kept = f"it has {', '.join(f'{folder.name}@{one}' for one in steps)}; " if steps else ""
    raise NoSuchRun(
        f"the run {folder.name} has no checkpoint of step {step}", f"{kept}--keep-checkpoints keeps more of them"
    )


def run_of_checkpoint(folder: Path) -> Path | None:
    """Return the folder of the run that a checkpoint's folder belongs to; None for any other folder."""
    is_checkpoint = folder.parent.name == CHECKPOINTS and folder.name.startswith("checkpoint-")
    return folder.parent.parent if is_checkpoint else None


def run_name(run: str | Path) -> str:
    """Return the name of a run, given by its folder; of a checkpoint, RUN@20."""
    folder = Path(run)
    owner = run_of_checkpoint(folder)
    return f"{owner.name}@{folder.name.rsplit('-', 1)[1]}" if owner else folder.name


def read_manifest(run: str | Path) -> RunManifest:
    """Return the manifest of a finished run; for one of its checkpoints, with the checkpoint's weights as the adapter.

    Raises NoSuchRun, UnfinishedRun for a folder without one, or RunError for a folder that holds something else.
    """
    folder = find_run(run)
    owner = run_of_checkpoint(folder)
    if owner:
        return replace(read_manifest(owner), adapter=".")
    path = folder / MANIFEST_FILE
    if not path.is_file():
        if kind := kind_of(folder):
            raise RunError(
                f"{folder} contains {NAMES[kind]}, not a run of quire",
                "generate, chat and score take it as it is; this command needs a run"
                + (f": `quire finetune import {folder}` makes one of it" if kind == "adapter" else ""),
            )
        raise UnfinishedRun(
            f"the run {folder.name} did not finish: it has no {MANIFEST_FILE}",
            "repeat the command that started it, with --resume",
        )
    try:
        return RunManifest(**json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, TypeError) as exc:
        raise RunError(f"{path} cannot be read: {exc}", "train the run again") from exc


def weights_of(run: str | Path) -> Path:
    """Return the folder with the weights of a finished run or of its checkpoint; raises what `read_manifest` raises."""
    return find_run(run) / read_manifest(run).adapter


def texts_of(run: str | Path) -> Path:
    """Return the folder with the tokenizer and the template of a finished run, which its checkpoints share."""
    owner = run_of_checkpoint(find_run(run))
    return weights_of(owner or run)


def hash_weights(run: str | Path) -> str:
    """Return the SHA-256 over the weights of a finished run or of its checkpoint."""
    digest = hashlib.sha256()
    for path in sorted(weights_of(run).glob("*.safetensors")):
        digest.update(bytes.fromhex(sha256_of_file(path)))
    return digest.hexdigest()


def has_training(folder: Path) -> bool:
    """Return whether anything was trained in a run folder: a checkpoint, weights or metrics exist."""
    return any(folder.glob("checkpoints/checkpoint-*")) or any(
        (folder / name).exists() for name in ("metrics.jsonl", "adapter")
    )


def require_free(name: str, *, resume: bool) -> None:
    """Raise RunExists for a finished run of that name, and for a started one unless `resume`."""
    folder = runs_folder() / name
    if (folder / MANIFEST_FILE).is_file():
        raise RunExists(f"the run {name} is finished: {folder}", "choose another --name, or remove the folder")
    if has_training(folder) and not resume:
        raise RunExists(f"the run {name} was started and did not finish", "add --resume, or choose another --name")


def open_run(name: str, *, resume: bool) -> Path:
    """Return the folder of a run to be trained, created if necessary; raises what `require_free` raises."""
    require_free(name, resume=resume)
    folder = runs_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder

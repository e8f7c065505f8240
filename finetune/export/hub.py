"""Pushes adapters, merged models and GGUF files to the Hugging Face hub or a folder, and pulls them.

Every push contains `quire.json` with the hash of each file; a pull checks the files against it.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finetune.errors import AlreadyExists, HubFailed, UnfinishedRun
from finetune.export.handover import check_gguf, to_gguf
from finetune.export.merge import MERGE_FILE, merge, read_merge_report
from finetune.export.model_card import base_name, model_card
from finetune.export.reference import checked_reference
from finetune.hub_access import hub_api, hub_errors, invalid_repo
from finetune.runs.manifest import RunManifest, find_run, read_manifest
from finetune.runs.scratch import scratch_folder
from quire import UsageError, sha256_of_file

CONTENTS_FILE = "quire.json"
RUN_FILES = ("report.json", "curves.png", "metrics.jsonl")  # pushed with adapter, merged model or GGUF


def push(
    run: str | Path,
    to: str,
    *,
    what: str = "adapter",
    path: Path | None = None,
    base_folder: str = "",
    private: bool = True,
    progress: Callable[[str], None] = lambda line: None,
) -> str:
    """Push a run's adapter, merged model or GGUF (`what`), with a model card, and return where it is.

    `to` is a repository (OWNER/NAME), or `file:FOLDER`. `path` is an existing merged folder or GGUF file; without it,
    one is made. Both are checked for parity. Raises AlreadyExists for a folder that is not empty, ParityFailed or
    WrongBase for a `path` of another run, HubFailed.
    """
    if what not in ("adapter", "merged", "gguf"):
        raise UsageError(f"what is {what!r}", "use adapter, merged or gguf")
    if path is not None and what == "adapter":
        raise UsageError(
            "--path cannot be used with an adapter, which is read from the run",
            "leave it out, or add --what merged or gguf",
        )
    folder, manifest = find_run(run), read_manifest(run)
    _check_target(to)
    if not (folder / manifest.adapter).is_dir():
        raise UnfinishedRun(f"the run {folder.name} has no folder {manifest.adapter}", "train it again")
    with scratch_folder() as scratch:
        stage = scratch / "files"
        stage.mkdir()
        if what == "adapter":
            figures = _stage_adapter(folder, manifest, stage)
        elif what == "merged":
            figures = _stage_merged(folder, manifest, stage, path, base_folder, progress)
        else:
            figures = _stage_gguf(folder, stage, path, base_folder, progress)
        for name in RUN_FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, stage / name)
        title = to.removeprefix("file:").rstrip("/").rsplit("/", 1)[-1]
        model_card(folder, manifest, what, figures, name=title).save(stage / "README.md")
        (stage / CONTENTS_FILE).write_text(
            json.dumps(list_contents(stage, manifest, what), indent=2) + "\n", encoding="utf-8"
        )
        if to.startswith("file:"):
            return _copy_to_folder(stage, Path(to.removeprefix("file:")).expanduser())
        return _upload(stage, to, private, progress)


def _stage_adapter(folder: Path, manifest: RunManifest, stage: Path) -> dict[str, Any]:
    for source in sorted((folder / manifest.adapter).iterdir()):
        if source.is_file() and source.name != "README.md":
            shutil.copyfile(source, stage / source.name)
    path = stage / "adapter_config.json"
    if path.is_file():  # PEFT writes the base's folder on this machine into it
        config = json.loads(path.read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = base_name(manifest)
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return {}


def _stage_merged(
    folder: Path,
    manifest: RunManifest,
    stage: Path,
    path: Path | None,
    base_folder: str,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    if path is None:
        path = stage.parent / "merged"
        progress("merging the adapter into its base")
        merge(folder, path, base_folder=base_folder)
    report = read_merge_report(folder, path)
    checked_reference(folder, path, base_folder=base_folder, progress=progress)
    shutil.copytree(path, stage, dirs_exist_ok=True)
    report = {**report, "run": folder.name, "base": base_name(manifest)}  # without folders of this machine
    (stage / MERGE_FILE).write_text(json.dumps(report, indent=2), encoding="utf-8")
    return {"held-out text": report["held_out"]}


def _stage_gguf(
    folder: Path, stage: Path, path: Path | None, base_folder: str, progress: Callable[[str], None]
) -> dict[str, Any]:
    if path is not None:
        exported = check_gguf(folder, path, base_folder=base_folder, progress=progress)
        shutil.copyfile(path, stage / path.name)
    else:
        exported = to_gguf(folder, stage / f"{folder.name}-f16.gguf", base_folder=base_folder, progress=progress)
    (stage / "Modelfile").write_text(exported.modelfile.to_text(f"./{exported.path.name}"), encoding="utf-8")
    return {"parity": exported.parity.to_dict()}


def list_contents(folder: Path, manifest: RunManifest, what: str) -> dict[str, Any]:
    """Return what `quire.json` stores: the origin of a folder and the hash of each file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CONTENTS_FILE)
    return {
        "what": what,
        "base": base_name(manifest),
        "method": manifest.method,
        "stage": manifest.stage,
        "template": manifest.template,
        "created": manifest.created,
        "files": {str(path.relative_to(folder)): sha256_of_file(path) for path in files},
    }


def pull(source: str, out: Path, *, revision: str = "", progress: Callable[[str], None] = lambda line: None) -> Path:
    """Download a push into the new folder `out`, check every file against its hash, and return the folder.

    `source` is a repository or `file:FOLDER`, `revision` a commit or tag (empty: the newest). Raises AlreadyExists, or
    HubFailed when the download fails or a file differs; then no folder is left.
    """
    if out.exists():
        raise AlreadyExists(f"{out} already exists", "choose another --out, or remove it")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        if source.startswith("file:"):
            origin = Path(source.removeprefix("file:")).expanduser()
            if not origin.is_dir():
                raise HubFailed(f"the folder {origin} does not exist", "pass the folder that was pushed to")
            _copy_files(origin, part)
        else:
            progress(f"fetching {source}")
            with hub_errors(source):
                hub_api().snapshot_download(source, revision=revision or None, local_dir=str(part))
            shutil.rmtree(part / ".cache", ignore_errors=True)
        check_contents(part, source)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def check_contents(folder: Path, source: str) -> None:
    """Raise HubFailed when a file of a push is missing or has changed."""
    path = folder / CONTENTS_FILE
    if not path.is_file():
        raise HubFailed(
            f"{source} has no {CONTENTS_FILE}: it was not pushed by quire", "download it with `hf download`"
        )
    for name, digest in json.loads(path.read_text(encoding="utf-8"))["files"].items():
        target = (folder / name).resolve()
        if not target.is_relative_to(folder.resolve()) or not target.is_file():
            raise HubFailed(f"{source} lacks {name}", "push it again")
        if sha256_of_file(target) != digest:
            raise HubFailed(f"{name} of {source} is not what was pushed", "pull again, or push it again")


# -- places


def _check_target(to: str) -> None:
    """Raise UsageError or AlreadyExists for a place that cannot be pushed to, before anything is made."""
    if to.startswith("file:"):
        target = Path(to.removeprefix("file:")).expanduser()
        if not target.name:
            raise UsageError(f"{to} does not name a folder", "use file:FOLDER")
        if target.is_dir() and any(target.iterdir()):
            raise AlreadyExists(f"{target} is not empty", "choose another folder, or empty it")
        if target.exists() and not target.is_dir():
            raise AlreadyExists(f"{target} is a file", "choose another folder")
    elif to.count("/") != 1:
        raise invalid_repo(to)


def _copy_files(origin: Path, target: Path) -> None:
    """Copy a folder and stop at the first error; `shutil.copytree` would go on and report all of them."""
    for source in sorted(origin.rglob("*")):
        if source.is_file():
            to = target / source.relative_to(origin)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, to)


def _copy_to_folder(stage: Path, target: Path) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        _copy_files(stage, part)
        if target.exists():
            target.rmdir()  # empty, as `_check_target` made sure
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return f"file:{target}"


def _upload(stage: Path, repo: str, private: bool, progress: Callable[[str], None]) -> str:
    with hub_errors(repo):
        api = hub_api()
        api.create_repo(repo, private=private, exist_ok=True)
        progress(f"uploading to {repo}")
        upload = {"repo_id": repo, "folder_path": str(stage), "commit_message": "Push from quire"}
        try:
            commit = api.upload_folder(**upload)
        except Exception as exc:
            if "xet" not in str(exc):
                raise
            progress("this hub does not support Xet; uploading without it")
            with _without_xet():
                commit = api.upload_folder(**upload)
    return str(getattr(commit, "commit_url", repo))


@contextmanager
def _without_xet() -> Iterator[None]:
    """Turn off the Xet protocol, which the hub's library uses when `hf_xet` is installed and mirrors may lack."""
    from huggingface_hub import constants

    before = constants.HF_HUB_DISABLE_XET
    constants.HF_HUB_DISABLE_XET = True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET = before

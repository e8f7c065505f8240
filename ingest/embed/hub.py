"""Models of the Hugging Face hub: their files in its cache, downloaded once."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from ingest.errors import EmbedderUnavailable

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_SETTINGS = ["*.json"]  # of the model, its tokenizer and its pooling; never code
WEIGHTS = ("onnx/model.onnx", "model.onnx", "model.safetensors")  # the first that the model has


def hub_folder(name: str, *, download: bool) -> Path:
    """Return the folder of a model of the hub, `OWNER/NAME` with or without `@REVISION`, in the cache of HF_HOME.

    What the cache has is used without asking the hub, so that a model does not change by itself. Raises
    EmbedderUnavailable if `name` is no such name, or if the files are not there and cannot be downloaded.
    """
    repository, _, revision = name.partition("@")
    if not _NAME.fullmatch(repository):
        raise EmbedderUnavailable(
            f"{name} is neither a folder nor a name of the hub", "give the path of a folder, or OWNER/NAME"
        )
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    revision = revision or "main"
    for weights in WEIGHTS:
        with contextlib.suppress(LocalEntryNotFoundError):  # nothing is there, or not all of it
            kept = snapshot_download(
                repository, revision=revision, local_files_only=True, allow_patterns=_patterns(weights)
            )
            if (Path(kept) / weights).is_file():
                return Path(kept)
    if not download:
        raise EmbedderUnavailable(
            f"{name} is not in the Hugging Face cache yet", "it is downloaded when it is first used"
        )
    try:
        files = {entry.rfilename for entry in HfApi().model_info(repository, revision=revision).siblings or []}
        found = next((file for file in WEIGHTS if file in files), "")
        return Path(snapshot_download(repository, revision=revision, allow_patterns=_patterns(found)))
    except Exception as exc:  # each version of huggingface_hub has other classes below it for HTTP
        reason = str(exc).strip().split("\n")[0] or type(exc).__name__
        raise EmbedderUnavailable(
            f"{name} could not be downloaded: {reason}",
            "check the name and the network, set HF_TOKEN for a gated model, or give a folder",
        ) from exc


def _patterns(weights: str) -> list[str]:
    return [*_SETTINGS, *([weights, f"{weights}_data"] if weights else [])]

"""Data sets of the Hugging Face hub, read as rows with the `datasets` library."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune.data.sources.row import Row
from finetune.errors import MissingLibrary, SourceUnavailable
from finetune.hub_access import endpoint, hub_or_cache, reachable
from quire import require_extra, sha256_of_file


def read_hub_dataset(name: str, *, split: str) -> Iterator[Row]:
    """Read one split of a data set of the hub, which the library downloads into its cache.

    Raises SourceUnavailable if the hub cannot be reached or does not have the data set.
    """
    for number, values in enumerate(_load(name, split), start=1):
        yield Row(number, number, dict(values))


def hash_hub_dataset(name: str, *, split: str) -> str:
    """Return the SHA-256 of one split's rows as the library stores them; raises SourceUnavailable."""
    digest = hashlib.sha256()
    files = [Path(file["filename"]) for file in _load(name, split).cache_files]
    if not files:  # the library was told to keep data sets in memory
        raise SourceUnavailable(f"{name} is in no file of the cache", "unset HF_DATASETS_IN_MEMORY_MAX_SIZE")
    for file in files:
        digest.update(sha256_of_file(file).encode())
    return digest.hexdigest()


def _load(name: str, split: str) -> Any:
    require_extra("finetune", "datasets", purpose=f"reading {name} from the hub", error=MissingLibrary)
    import datasets

    try:
        with hub_or_cache(name):
            return datasets.load_dataset(name, split=split)
    except Exception as exc:  # the library raises dozens of types: network, cache, names, its dependencies'
        offline = os.environ.get("HF_HUB_OFFLINE") in ("1", "true", "True")
        why = "HF_HUB_OFFLINE is set, and it is not in the cache" if offline else f"{type(exc).__name__}: {exc}"
        if not offline and not reachable():
            why = f"{endpoint()} does not answer, and it is not in the cache"
        raise SourceUnavailable(
            f"{name} (split {split}) cannot be loaded from the hub: {why.splitlines()[0]}",
            "download its files on a machine with network access, and name a file here (.jsonl, .json, .parquet, .csv)",
        ) from exc

"""Data sets of the Hugging Face hub, loaded as rows through the `datasets` library."""

import os
from collections.abc import Iterator

from finetune.data.sources.readers import Row
from finetune.errors import MissingLibrary, SourceUnavailable
from finetune.hub_access import endpoint, hub_or_cache, reachable
from quire import install_extra


def read_hub(name: str, *, split: str = "train", config: str | None = None) -> Iterator[Row]:
    """Read one split of a hub data set, fetching it into the library's own cache.

    Raises SourceUnavailable when the hub is not reached or does not hold the set, and says how to use a file instead.
    """
    try:
        import datasets
    except ImportError as exc:
        raise MissingLibrary(
            f"reading {name} from the hub needs the library `datasets`", install_extra("finetune")
        ) from exc
    try:
        with hub_or_cache(name):
            rows = datasets.load_dataset(name, config, split=split)
    except Exception as exc:  # the library raises dozens of kinds: network, cache, names, its dependencies'
        offline = os.environ.get("HF_HUB_OFFLINE") in ("1", "true", "True")
        why = "HF_HUB_OFFLINE is set, and the cache does not hold it" if offline else f"{type(exc).__name__}: {exc}"
        if not offline and not reachable():
            why = f"{endpoint()} is not reached, and the cache does not hold it"
        raise SourceUnavailable(
            f"{name} (split {split}) cannot be loaded from the hub: {why.splitlines()[0]}",
            "fetch its files on a machine with network, and name a file here (.jsonl, .json, .parquet, .csv)",
        ) from exc
    for number, values in enumerate(rows, start=1):
        yield Row(number, number, dict(values))

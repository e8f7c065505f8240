"""The fingerprint of a data source: a hash of its content, which shows whether it changed."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from finetune.data.catalog import hub_name, training_split
from finetune.data.sources.folders import training_files
from finetune.data.sources.hub_datasets import hash_hub_dataset
from finetune.errors import DataError, MissingLibrary, SourceUnavailable
from quire import sha256_of_file

UNKNOWN = "unknown"  # fingerprint of content that could not be read


def fingerprint(source: str) -> str:
    """Return the hash of a source's content: 64 hex digits of a file, after `folder:` or `hub:` for the others.

    A folder's hash covers the names and contents of its data files, that of a hub set the rows of its training split.
    Raises SourceUnavailable.
    """
    path = Path(source).expanduser()
    try:
        if path.is_file():
            return sha256_of_file(path)
        if path.is_dir():
            names = [f"{sha256_of_file(file)}  {file.name}\n" for file in training_files(path).files]
            return "folder:" + hashlib.sha256("".join(names).encode()).hexdigest()
    except OSError as exc:
        raise SourceUnavailable(f"{source} cannot be read: {exc}", "check its permissions") from exc
    if path.is_absolute():
        raise SourceUnavailable(f"{source} does not exist any more", "put it back")
    name = hub_name(source)
    return "hub:" + hash_hub_dataset(name, split=training_split(name))


def fingerprints(sources: Iterable[str]) -> dict[str, str]:
    """Return the fingerprint of each source, `unknown` for one that cannot be read."""
    found = {}
    for source in sources:
        try:
            found[source] = fingerprint(source)
        except (DataError, MissingLibrary):
            found[source] = UNKNOWN
    return found

"""Display names of documents: the file name with as many parent folders as make it unique."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

UPLOAD = "upload:"  # prefix of the source of an uploaded file


def file_name(source: str) -> str:
    """Return the bare file name of a source (path, link or upload)."""
    return _parts(source)[-1]


def display_names(given: Mapping[str, str]) -> dict[str, str]:
    """Return for each source the shortest end of its path that no other source has.

    `given` maps each source to the file name that a server gave, which takes the place of the link's own, or to "".
    """
    parts = {source: (*_parts(source)[:-1], name or _parts(source)[-1]) for source, name in given.items()}
    names: dict[str, str] = {}
    for source, own in parts.items():
        others = [other for key, other in parts.items() if key != source and other[-1] == own[-1]]
        depth = 1
        while depth < len(own) and any(other[-depth:] == own[-depth:] for other in others):
            depth += 1
        names[source] = "/".join(own[-depth:])
    return _numbered(names)


def _parts(source: str) -> tuple[str, ...]:
    if source.startswith(UPLOAD):
        return (source[len(UPLOAD) :],)
    if source.startswith(("http://", "https://")):
        address = urlsplit(source)
        # without the query: it may hold a key, and links that differ only in it are numbered
        return (address.netloc, *(unquote(part) for part in address.path.split("/") if part))
    return tuple(part for part in PurePosixPath(source.replace("\\", "/")).parts if part != "/") or (source,)


def _numbered(names: dict[str, str]) -> dict[str, str]:
    """Number the names that are still equal, such as an upload a.pdf and a file a.pdf in the root folder."""
    seen: dict[str, int] = {}
    result = {}
    for source in sorted(names):
        name = names[source]
        seen[name] = seen.get(name, 0) + 1
        result[source] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    return result

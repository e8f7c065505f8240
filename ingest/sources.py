"""What a person pointed at, sorted out: files, folders and links become candidates, everything else a failure with a reason."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_DOCUMENTS = uuid.UUID("7f1d7e0c-3f0a-5d3c-9a52-1f6f0d6d2b11")  # namespace of document ids


@dataclass(frozen=True)
class Candidate:
    """One PDF to be: `source` is what its identity rests on, `path` where its bytes lie (None for a link not fetched yet)."""

    source: str
    path: Path | None

    @property
    def document_id(self) -> str:
        """Return the stable id of this source."""
        return document_id(self.source)


@dataclass(frozen=True)
class Failed:
    """One thing that was given and did not become a document."""

    document: str
    reason: str
    hint: str


def document_id(source: str) -> str:
    """Return the UUID5 of a source: the same path or link is the same document, whatever its bytes."""
    return str(uuid.uuid5(_DOCUMENTS, source))


def is_link(text: str) -> bool:
    """Say whether an argument is an address and not a path."""
    return text.lower().startswith(("http://", "https://"))


def collect(arguments: Iterable[str]) -> tuple[list[Candidate], list[Failed], list[str]]:
    """Return candidates in a stable order, failures, and notices about what a folder held beside PDFs."""
    candidates: dict[str, Candidate] = {}
    failed: list[Failed] = []
    notices: list[str] = []
    for argument in arguments:
        if is_link(argument):
            candidates.setdefault(argument, Candidate(argument, None))
            continue
        if "://" in argument:
            failed.append(
                Failed(argument, "this kind of address is not supported", "use http:// or https://, or a path")
            )
            continue
        path = Path(argument).expanduser()
        if path.is_dir():
            found, others = _pdfs_below(path)
            if not found:
                failed.append(Failed(str(path), "the folder holds no PDF", "name a folder with .pdf files in it"))
            elif others:
                notices.append(f"{path}: {others} files that are not named .pdf were left out")
        elif path.exists():
            found = [path]
        else:
            reason = "a link to a file that is gone" if path.is_symlink() else "no such file or folder"
            failed.append(Failed(argument, reason, "check the spelling"))
            continue
        for file in found:
            source = str(file.absolute())
            candidates.setdefault(source, Candidate(source, file))
    return list(candidates.values()), failed, notices


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pdfs_below(folder: Path) -> tuple[list[Path], int]:
    files = sorted(_files_below(folder))
    pdfs = [file for file in files if file.suffix.lower() == ".pdf"]
    return pdfs, len(files) - len(pdfs)


def _files_below(folder: Path) -> Iterator[Path]:
    # links to folders are not followed: they may form a ring
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            yield from _files_below(path)
        elif not path.is_dir():
            yield path

"""Turns arguments (files, folders, links) into candidates, or failures with a reason."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ingest.errors import IngestError
from ingest.files.pdf_store import FOLDER, REFERENCES
from quire import encodable

_DOCUMENTS = uuid.UUID("7f1d7e0c-3f0a-5d3c-9a52-1f6f0d6d2b11")  # namespace of document ids


@dataclass(frozen=True)
class Candidate:
    """One possible PDF: `source` identifies it, `path` has its bytes (None for a link)."""

    source: str
    path: Path | None

    @property
    def document_id(self) -> str:
        """Return the stable id of this source."""
        return document_id(self.source)


@dataclass(frozen=True)
class Failed:
    """One argument or file that did not become a document."""

    document: str
    reason: str
    hint: str


def document_id(source: str) -> str:
    """Return the UUID5 of a source: the same path or link is the same document, also with new bytes."""
    return str(uuid.uuid5(_DOCUMENTS, source))


def is_link(text: str) -> bool:
    """Return whether an argument is an http(s) address rather than a path."""
    return text.lower().startswith(("http://", "https://"))


def collect(arguments: Iterable[str]) -> tuple[list[Candidate], list[Failed], list[str]]:
    """Return candidates in a stable order, failures, and notices about what was skipped in folders."""
    candidates: dict[str, Candidate] = {}
    failed: list[Failed] = []
    notices: list[str] = []
    for argument in arguments:
        try:
            if is_link(argument):
                _add(candidates, failed, argument.partition("#")[0], None)  # "#page=3" is of the viewer, not the file
                continue
            for file in _files_of(argument, failed, notices):
                _add(candidates, failed, str(_absolute(file)), file)
        except IngestError as exc:
            failed.append(Failed(encodable(argument), exc.message, exc.hint))
        except OSError as exc:  # the name is too long, or the folder cannot be read
            where = "" if exc.filename in (None, argument) else f"{encodable(str(exc.filename))}: "
            reason = f"{where}{exc.strerror or exc}"
            failed.append(Failed(encodable(argument), reason, "check the spelling and the permissions"))
    return list(candidates.values()), failed, notices


@dataclass
class _Found:
    """What is in a folder and below."""

    pdfs: list[Path] = field(default_factory=list)
    others: int = 0  # files of other kinds
    links: int = 0  # symbolic links to folders
    copies: int = 0  # folders of a PdfStore
    closed: list[tuple[Path, str]] = field(default_factory=list)  # folders that cannot be read, and why


def _files_of(argument: str, failed: list[Failed], notices: list[str]) -> list[Path]:
    """Return the PDFs that a path names; raise IngestError, or OSError if the path cannot be read."""
    if not argument.strip():
        raise IngestError("an empty path", "give a file, a folder or a link")
    if "://" in argument:
        raise IngestError("this kind of address is not supported", "use http:// or https://, or a path")
    path = Path(argument)
    with contextlib.suppress(RuntimeError):  # "~name" without such a user may be a file name
        path = path.expanduser()
    if path.is_dir():
        return _pdfs_of(path, failed, notices)
    if not path.exists():
        what = "a link to a file that does not exist" if path.is_symlink() else "no such file or folder"
        raise IngestError(what, "check the spelling")
    return [path]


def _pdfs_of(folder: Path, failed: list[Failed], notices: list[str]) -> list[Path]:
    found = _Found()
    _search(folder, found)
    for path, why in found.closed:
        failed.append(Failed(encodable(str(path)), why, "check the folder's permissions"))
    shown = encodable(str(folder))
    if found.links:
        notices.append(f"{shown}: links to folders are not followed ({found.links}); give the folders themselves")
    if found.copies:
        notices.append(f"{shown}: skipped quire's own copies of PDFs in its home folder ({found.copies})")
    if found.pdfs and found.others:
        what = "1 file that is" if found.others == 1 else f"{found.others} files that are"
        notices.append(f"{shown}: skipped {what} not named .pdf")
    if not found.pdfs and not found.closed:
        raise IngestError("there is no PDF in the folder", "give a folder with .pdf files")
    return sorted(found.pdfs)


def _add(candidates: dict[str, Candidate], failed: list[Failed], source: str, path: Path | None) -> None:
    """Add a candidate, or the reason why it is not one: reading a pipe or a device could block for ever."""
    if encodable(source) != source:
        reason, hint = "the name has bytes that are not UTF-8", "rename the file, then give it again"
    elif path is not None and path.exists() and not path.is_file():
        reason = "not a regular file but a pipe, a socket or a device"
        hint = "save its contents to a file, and give that"
    else:
        candidates.setdefault(source, Candidate(source, path))
        return
    failed.append(Failed(encodable(source), reason, hint))


def _absolute(file: Path) -> Path:
    """Return the absolute path that identifies a file, without `..`."""
    return file.parent.resolve() / file.name if ".." in file.parts else file.absolute()


def _search(folder: Path, found: _Found) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_symlink() and path.is_dir():  # not followed: links can form a loop
            found.links += 1
        elif path.name == FOLDER and (path / REFERENCES).is_file():
            found.copies += 1  # of any home folder: each document would be added again, named by its hash
        elif path.is_dir():
            try:
                _search(path, found)
            except OSError as exc:
                found.closed.append((path, exc.strerror or str(exc)))
        elif path.suffix.lower() == ".pdf":
            found.pdfs.append(path)
        else:
            found.others += 1

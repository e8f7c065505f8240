"""What a person pointed at, sorted out: files, folders and links become candidates, everything else a failure with a reason."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ingest.files.pdf_store import FOLDER, REFERENCES

_DOCUMENTS = uuid.UUID("7f1d7e0c-3f0a-5d3c-9a52-1f6f0d6d2b11")  # namespace of document ids
_SPELLING = "check the spelling"


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


class _NoSource(Exception):
    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


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
        try:
            if is_link(argument):
                _add(candidates, failed, argument, None)
                continue
            for file in _files_of(argument, failed, notices):
                _add(candidates, failed, str(_place(file)), file)
        except _NoSource as exc:
            failed.append(Failed(_printable(argument), exc.message, exc.hint))
        except OSError as exc:  # a name too long, a folder that may not be read
            where = "" if exc.filename in (None, argument) else f"{_printable(str(exc.filename))}: "
            reason = f"{where}{exc.strerror or exc}"
            failed.append(Failed(_printable(argument), reason, "check the spelling and the permissions"))
    return list(candidates.values()), failed, notices


@dataclass
class _Look:
    """What a folder holds."""

    pdfs: list[Path] = field(default_factory=list)
    others: int = 0  # files of other kinds
    links: int = 0  # links to folders
    copies: int = 0  # folders of our own copies
    closed: list[tuple[Path, str]] = field(default_factory=list)  # folders that cannot be read, and why


def _files_of(argument: str, failed: list[Failed], notices: list[str]) -> list[Path]:
    """Return the PDFs that a path means; raises _NoSource, and OSError where the system refuses to look."""
    if not argument.strip():
        raise _NoSource("an empty path", "name a file, a folder or a link")
    if "://" in argument:
        raise _NoSource("this kind of address is not supported", "use http:// or https://, or a path")
    path = Path(argument)
    with contextlib.suppress(RuntimeError):  # ~NAME of nobody here: may be a file of that name
        path = path.expanduser()
    if path.is_dir():
        return _pdfs_of(path, failed, notices)
    if not path.exists():
        raise _NoSource("a link to a file that is gone" if path.is_symlink() else "no such file or folder", _SPELLING)
    return [path]


def _pdfs_of(folder: Path, failed: list[Failed], notices: list[str]) -> list[Path]:
    look = _Look()
    _look_below(folder, look)
    for path, why in look.closed:
        failed.append(Failed(_printable(str(path)), why, "check the folder's permissions"))
    shown = _printable(str(folder))
    if look.links:
        notices.append(f"{shown}: links to folders are not followed ({look.links}); name the folders themselves")
    if look.copies:
        notices.append(f"{shown}: left out the copies that quire keeps itself ({look.copies}), in its home folder")
    if look.pdfs and look.others:
        what = "1 file that is" if look.others == 1 else f"{look.others} files that are"
        notices.append(f"{shown}: left out {what} not named .pdf")
    if not look.pdfs and not look.closed:
        raise _NoSource("the folder holds no PDF", "name a folder with .pdf files in it")
    return sorted(look.pdfs)


def _add(candidates: dict[str, Candidate], failed: list[Failed], source: str, path: Path | None) -> None:
    """Note one candidate, or why it cannot be one: what is not a plain file could block or never end."""
    if _printable(source) != source:
        reason, hint = "the name holds bytes that are not UTF-8", "rename the file, then give it again"
    elif path is not None and path.exists() and not path.is_file():
        reason, hint = (
            "not a plain file but a pipe, a socket or a device",
            "save what it gives to a file, and give that",
        )
    else:
        candidates.setdefault(source, Candidate(source, path))
        return
    failed.append(Failed(_printable(source), reason, hint))


def _place(file: Path) -> Path:
    """Return the absolute path that tells a file from others, the same whichever way round it was named."""
    return file.parent.resolve() / file.name if ".." in file.parts else file.absolute()


def _printable(text: str) -> str:
    """Return a text that any stream can take: bytes of a name that are not UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _look_below(folder: Path, look: _Look) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_symlink() and path.is_dir():  # not followed: they may form a ring
            look.links += 1
        elif (
            path.name == FOLDER and (path / REFERENCES).is_file()
        ):  # of any home folder: each document would be there twice, named by its hash
            look.copies += 1
        elif path.is_dir():
            try:
                _look_below(path, look)
            except OSError as exc:
                look.closed.append((path, exc.strerror or str(exc)))
        elif path.suffix.lower() == ".pdf":
            look.pdfs.append(path)
        else:
            look.others += 1

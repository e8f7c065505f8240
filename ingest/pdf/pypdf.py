"""pypdf: title, outline, page labels and attachments; text and decryption if PDFium fails."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ingest.errors import UnreadablePDF
from ingest.pdf.pdfium import password_error
from quire import one_line

log = logging.getLogger(__name__)

_MAX_OUTLINE_DEPTH = 12
_MAX_OUTLINE_ENTRIES = 5000  # outlines of hostile files can be endless
_MEANINGLESS = re.compile(
    r"""untitled.*|no\ title|title|document\d*|unknown|none|null|slide\ 1|print|\(?anonymous\)?
    |microsoft\ (word|powerpoint|excel)\b.*|[\W\d_]*|[0-9a-f-]{16,}
    |.*\.(indd|qxd|docx?|pptx?|xlsx?|pdf|tex|dvi|rtf|html?|p65|pmd|odt)
    |(file|https?)://.*|[a-z]:\\.*""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True)
class Metadata:
    """The metadata of a file; `labels` is empty if the file has no page labels."""

    title: str = ""
    outline: tuple[tuple[int, str, int], ...] = ()
    labels: tuple[str, ...] = ()
    attachments: tuple[str, ...] = ()
    is_portfolio: bool = False  # a cover page and a collection of files
    notices: tuple[str, ...] = ()


def read_metadata(path: Path, password: str | None, reader: Any = None) -> Metadata:
    """Return the metadata of a file, by its open `reader` if given; what cannot be read is empty and named in a notice."""
    notices: list[str] = []
    try:
        reader = reader or open_reader(path, password)
    except UnreadablePDF as exc:
        why = exc.message.removeprefix(f"{path.name}: ").partition(":")[0]  # pypdf's error without its details
        return Metadata(notices=(f"Title, outline and page labels could not be read ({why}).",))

    def attempt(what: str, read: Any, empty: Any) -> Any:
        try:
            return read()
        except MemoryError:
            raise
        except Exception as exc:  # pypdf raises anything on damaged files; the text of the pages does not depend on it
            log.debug("%s: %s: %r", path, what, exc)
            notices.append(f"The {what} could not be read ({type(exc).__name__}).")
            return empty

    return Metadata(
        title=attempt("title", lambda: clean_title(_title(reader)), ""),
        outline=attempt("outline", lambda: _outline(reader), ()),
        labels=attempt("page labels", lambda: _labels(reader), ()),
        attachments=attempt("list of attachments", lambda: tuple(one_line(n) for n in reader.attachments), ()),
        is_portfolio=attempt("kind of the document", lambda: "/Collection" in reader.root_object, False),
        notices=tuple(notices),
    )


def open_reader(path: Path, password: str | None, *, count_pages: bool = True) -> Any:
    """Return pypdf's reader, decrypted; raise PasswordRequired or UnreadablePDF.

    Counting the pages shows whether there are any and can be read, and takes most of the time.
    """
    from pypdf import PdfReader

    try:
        reader = PdfReader(path, strict=False)
        if reader.is_encrypted and not any(reader.decrypt(p) for p in dict.fromkeys(("", password or ""))):
            raise password_error(path, password)
        if count_pages and not len(reader.pages):
            raise UnreadablePDF(f"{path.name} has no pages", "check where the file came from")
        return reader
    except (UnreadablePDF, MemoryError):
        raise
    except Exception as exc:  # on hostile bytes pypdf raises far more than its own errors
        raise UnreadablePDF(f"{path.name}: {type(exc).__name__}: {one_line(str(exc))}") from exc


def page_texts(reader: Any, path: Path) -> list[tuple[str, bool]]:
    """Return the text of each page by pypdf, and whether the page has images."""
    try:
        return [(page.extract_text() or "", _has_images(page)) for page in reader.pages]
    except MemoryError:
        raise
    except Exception as exc:  # as in open_reader
        raise UnreadablePDF(f"{path.name}: {type(exc).__name__}: {one_line(str(exc))}") from exc


def write_decrypted(path: Path, password: str | None, file: IO[bytes]) -> None:
    """Write the document without encryption by pypdf."""
    from pypdf import PdfWriter

    reader = open_reader(path, password)
    try:
        PdfWriter(clone_from=reader).write(file)
    except MemoryError:
        raise
    except Exception as exc:  # as in open_reader
        raise UnreadablePDF(f"{path.name}: {type(exc).__name__}: {one_line(str(exc))}") from exc


def clean_title(title: str) -> str:
    """Return a metadata title in one line, "" if it is a number, a file name or a placeholder of a program."""
    line = one_line(title)
    return "" if _MEANINGLESS.fullmatch(line) else line


def _title(reader: Any) -> str:
    return str((reader.metadata.title if reader.metadata else "") or "")


def _labels(reader: Any) -> tuple[str, ...]:
    if "/PageLabels" not in reader.root_object:
        return ()
    return tuple(one_line(label) for label in reader.page_labels)


def _outline(reader: Any) -> tuple[tuple[int, str, int], ...]:
    entries: list[tuple[int, str, int]] = []

    def walk(items: list[Any], level: int) -> None:
        for item in items:
            if len(entries) >= _MAX_OUTLINE_ENTRIES or level > _MAX_OUTLINE_DEPTH:
                return
            if isinstance(item, list):
                walk(item, level + 1)
                continue
            number = reader.get_destination_page_number(item)
            title = one_line(str(item.title or ""))
            if title and number is not None and number >= 0:
                entries.append((level, title, number + 1))

    walk(reader.outline, 0)
    return tuple(entries)


def _has_images(page: Any) -> bool:
    resources = page.get("/Resources")
    objects = resources.get_object().get("/XObject") if resources is not None else None
    if objects is None:
        return False
    return any(item.get_object().get("/Subtype") == "/Image" for item in objects.get_object().values())

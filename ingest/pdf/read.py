"""Reads a PDF into pages of text, and shows places on its pages; it does not split or store."""

from __future__ import annotations

import importlib.metadata
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ingest.errors import NoTextInPDF, ParserLimit, PasswordRequired, UnreadablePDF
from ingest.pdf import layout, pdfium
from ingest.pdf import pypdf as metadata
from ingest.pdf import text as pagetext
from quire import pluralize

PageKind = Literal["text", "scanned", "blank"]

_MOST_CHARACTERS = 100_000_000  # of one document; 20,000 dense pages hold as many


@dataclass(frozen=True)
class Page:
    """One page as read: `text` is normalised (\\n line ends, no control characters) and is what character ranges count in."""

    number: int  # 1-based position in the file
    label: str  # printed page label, e.g. "iv"; str(number) where the file names none
    text: str
    kind: PageKind = "text"
    headings: tuple[
        str, ...
    ] = ()  # outline titles that point here, then lines set in clearly larger type, in reading order
    running_lines: tuple[tuple[int, int], ...] = ()  # character ranges of running headers and footers


@dataclass(frozen=True)
class PDF:
    """One parsed file: its pages and what its metadata says."""

    pages: tuple[Page, ...]
    title: str  # metadata title, cleaned; "" where it is absent or meaningless
    parser: str  # "pypdfium2 5.15.2"
    outline: tuple[tuple[int, str, int], ...] = ()  # (level from 0, title, page number)
    attachments: tuple[str, ...] = ()  # names of embedded files; never opened
    encrypted: bool = False  # a password was needed
    notices: tuple[str, ...] = field(default=())  # what a person should know, in whole sentences


def read_pdf(path: Path, *, password: str | None = None, max_pages: int = 20_000) -> PDF:
    """Read a file by PDFium, or by pypdf where PDFium refuses it.

    The empty password is tried, then `password`. Raises PasswordRequired, NoTextInPDF, ParserLimit (too many pages or
    characters) or UnreadablePDF. A hostile file can also hang or exhaust memory: see ingest.parsing.
    """
    check_file(path)
    try:
        with pdfium.opened(path, password) as document:
            _check_pages(path, len(document), max_pages)
            raws, kinds, lines, damaged = _read_pages(path, document)
        parser = _version("pypdfium2")
    except (PasswordRequired, ParserLimit):
        raise
    except UnreadablePDF as refused:
        raws, kinds = _second_try(path, password, refused, max_pages)
        damaged = []
        lines = [[] for _ in raws]
        parser = _version("pypdf")
    about = metadata.read_metadata(path, password)
    pages = _pages(raws, kinds, lines, about)
    if not any(page.text.strip() for page in pages):
        raise NoTextInPDF(
            f"{path.name}: no text in {pluralize(len(pages), 'page')} ({_count_kinds(pages)})",
            "it was probably scanned: run it through an OCR program first, such as ocrmypdf"
            if any(page.kind == "scanned" for page in pages)
            else "its pages are blank: look whether it is the file you meant",
        )
    return PDF(
        pages=pages,
        title=about.title,
        parser=parser,
        outline=tuple(entry for entry in about.outline if entry[2] <= len(pages)),
        attachments=about.attachments,
        encrypted=bool(password) and pdfium.needs_password(path),
        notices=_notices(parser, damaged, about),
    )


def check_file(path: Path) -> None:
    """Raise UnreadablePDF for what is no file, empty, or plainly another kind of file."""
    if not path.exists():
        raise UnreadablePDF(f"{path} does not exist", "check the path")
    if not path.is_file():
        raise UnreadablePDF(f"{path} is no regular file", "give a PDF file or a folder that holds some")
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as exc:
        raise UnreadablePDF(f"{path.name} cannot be opened: {exc.strerror}", "check its permissions") from exc
    if not head:
        raise UnreadablePDF(f"{path.name} is empty (0 bytes)", "fetch or copy it again")
    if b"%PDF-" not in head and (kind := _kind_of_bytes(head)):
        raise UnreadablePDF(f"{path.name} is no PDF but {kind}", "give the PDF itself")


def decrypted_copy(path: Path, password: str | None, target: Path) -> None:
    """Write the document without encryption to `target`, readable by its owner only, in one step."""
    import pypdfium2.raw

    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            try:
                with pdfium.opened(path, password) as document:
                    document.save(file, flags=pypdfium2.raw.FPDF_REMOVE_SECURITY)
            except PasswordRequired:
                raise
            except (UnreadablePDF, pypdfium2.PdfiumError):  # a security handler that PDFium lacks
                file.seek(0)
                file.truncate()
                metadata.write_decrypted(path, password, file)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def page_rectangles(
    path: Path, page_number: int, start: int, end: int, *, password: str | None = None
) -> list[tuple[float, float, float, float]]:
    """Return where the characters from `start` to `end` of Page.text stand, one rectangle a line.

    Each is (left, top, right, bottom) in fractions of the page as rendered, origin top left. A file that only pypdf
    could read has no places: [].
    """
    try:
        with (
            pdfium.opened(path, password) as document,
            pdfium.text_page(document, page_number - 1) as (page, text),
        ):
            raw = pdfium.raw_text(text)
            return pdfium.boxes(page, text, pagetext.origins(raw, start, end))
    except PasswordRequired:
        raise
    except UnreadablePDF:
        return []


def render_page(path: Path, page_number: int, *, scale: float = 2.0, password: str | None = None) -> bytes:
    """Return one page (1-based) as a PNG, `scale` pixels a point; raise UnreadablePDF where PDFium cannot show it."""
    with pdfium.opened(path, password) as document:
        if not 1 <= page_number <= len(document):
            raise UnreadablePDF(f"{path.name} has no page {page_number}", f"it has {len(document)}")
        page = document[page_number - 1]
        try:
            return pdfium.picture(page, scale)
        finally:
            page.close()


def _check_pages(path: Path, count: int, most: int) -> None:
    if count > most:
        raise ParserLimit(f"{path.name} has {count} pages, over the limit of {most}", "raise parse_pages in quire.toml")


def _read_pages(path: Path, document: Any) -> tuple[list[str], list[PageKind], list[list[pdfium.Line]], list[int]]:
    """Return each page's raw text, kind and lines, and the numbers of pages that PDFium cannot load."""
    import pypdfium2

    raws: list[str] = []
    kinds: list[PageKind] = []
    lines: list[list[pdfium.Line]] = []
    damaged: list[int] = []
    total = 0
    for index in range(len(document)):
        try:
            with pdfium.text_page(document, index) as (page, text):
                raw = pdfium.raw_text(text)
                raws.append(raw)
                lines.append(pdfium.lines(text, raw))
                kinds.append(_kind(raw) or ("scanned" if pdfium.shows_something(page) else "blank"))
        except pypdfium2.PdfiumError:
            damaged.append(index + 1)
            raws.append("")
            lines.append([])
            kinds.append("blank")
        total += len(raws[-1])
        if total > _MOST_CHARACTERS:
            raise ParserLimit(f"{path.name} holds over {_MOST_CHARACTERS:,} characters", "split it into parts")
    if len(damaged) == len(raws):
        raise UnreadablePDF(f"{path.name}: PDFium can load none of its pages ({len(raws)})")
    return raws, kinds, lines, damaged


def _second_try(
    path: Path, password: str | None, refused: UnreadablePDF, max_pages: int
) -> tuple[list[str], list[PageKind]]:
    try:
        reader = metadata.open_reader(path, password)
        _check_pages(path, len(reader.pages), max_pages)
        read = metadata.page_texts(reader, path)
    except (PasswordRequired, ParserLimit):
        raise
    except UnreadablePDF as exc:
        with path.open("rb") as file:
            if b"%PDF-" not in file.read(1024):
                raise UnreadablePDF(
                    f"{path.name} is no PDF: it does not begin with %PDF-", "give the PDF itself"
                ) from exc
        raise UnreadablePDF(
            f"{path.name} is damaged or no PDF; {refused.message.removeprefix(f'{path.name}: ')} "
            f"pypdf: {exc.message.removeprefix(f'{path.name}: ')}",
            "open it in a viewer, save it anew, and try that copy",
        ) from exc
    kinds: list[PageKind] = [_kind(text) or ("scanned" if pictures else "blank") for text, pictures in read]
    return [text for text, _ in read], kinds


def _kind(raw: str) -> Literal["text"] | None:
    return "text" if pagetext.normalise(raw).strip() else None


def _pages(
    raws: list[str], kinds: list[PageKind], lines: list[list[pdfium.Line]], about: metadata.Metadata
) -> tuple[Page, ...]:
    texts = [pagetext.normalise(raw) for raw in raws]
    running_lines = layout.running_lines(texts)
    body = layout.body_size(lines)
    titles: dict[int, list[str]] = {}
    for _, title, number in about.outline:
        titles.setdefault(number, []).append(title)
    pages = []
    for index, (text, raw) in enumerate(zip(texts, raws, strict=True)):
        running = {text[a:b] for a, b in running_lines[index]}
        large = (pagetext.normalise(raw[a:b]) for a, b in layout.headings(raw, lines[index], body=body))
        found = [*titles.get(index + 1, ()), *(line for line in large if line not in running)]
        label = about.labels[index] if index < len(about.labels) else ""
        pages.append(
            Page(
                number=index + 1,
                label=label or str(index + 1),
                text=text,
                kind=kinds[index],
                headings=_without_repeats(found),
                running_lines=running_lines[index],
            )
        )
    return tuple(pages)


def _without_repeats(titles: list[str]) -> tuple[str, ...]:
    kept: dict[str, str] = {}
    for title in titles:
        kept.setdefault(" ".join(title.casefold().split()), title)
    return tuple(kept.values())


def _notices(parser: str, damaged: list[int], about: metadata.Metadata) -> tuple[str, ...]:
    notices = list(about.notices)
    notices += [f"Page {number} is damaged and could not be read." for number in damaged]
    if about.attachments:
        notices.append(f"Attached files are not read: {', '.join(about.attachments)}.")
    if parser.startswith("pypdf "):
        notices.append("PDFium refused the file; pypdf read it, so passages cannot be highlighted on the page.")
    return tuple(notices)


def _count_kinds(pages: tuple[Page, ...]) -> str:
    scanned = sum(page.kind == "scanned" for page in pages)
    return f"{scanned} with pictures, {len(pages) - scanned} blank"


def _kind_of_bytes(head: bytes) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<!--")) or b"<html" in start:
        return "a web page (HTML or XML)"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    return ""


_MAGIC = (
    (b"PK\x03\x04", "a ZIP archive or Office document"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"{\\rtf", "an RTF document"),
    (b"\x7fELF", "a program"),
    (b"%!PS", "PostScript"),
)


def _version(package: str) -> str:
    return f"{package} {importlib.metadata.version(package)}"

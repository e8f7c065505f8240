"""Reads a PDF into pages of text: by PDFium, or by pypdf if PDFium refuses the file."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ingest.errors import NoTextInPDF, ParserLimit, PasswordRequired, UnreadablePDF
from ingest.pdf import layers, layout, pdfium, pypdf
from ingest.pdf.legibility import NOTHING, Evidence, PageKind, judge, look
from ingest.pdf.letters import Letters
from ingest.pdf.text import normalize
from quire import install_extra, pluralize

_PLACEHOLDER = 1_500  # characters; "Please wait..." and its advice have about 300
_PRINT_XFA = "open it in Adobe Reader, print it to a PDF, and add that"
_MAX_CHARACTERS = 100_000_000  # of one document; 20,000 dense pages have about as many


@dataclass(frozen=True)
class Page:
    """One page: `text` is normalized (\\n line ends, no control characters), and character ranges refer to it."""

    number: int  # 1-based position in the file
    label: str  # printed page label, e.g. "iv"; str(number) if the file has no labels
    text: str
    kind: PageKind = "text"
    headings: tuple[str, ...] = ()  # outline titles that point here, then lines in clearly larger type
    running_lines: tuple[tuple[int, int], ...] = ()  # character ranges of running headers and footers
    uncertain_order: bool = False  # of its text
    ocr: str = ""  # the engine that read it, "rapidocr 3.10.0"; "" for text of the file
    confidence: float = 1.0  # of that engine, 0 to 1


@dataclass(frozen=True)
class _RawPage:
    """One page as it was read: raw text, its lines with their type, and what else the page shows."""

    raw: str = ""
    lines: tuple[pdfium.Line, ...] = ()
    evidence: Evidence = NOTHING
    uncertain_order: bool = False
    damaged: bool = False  # PDFium cannot load it
    unread_notes: bool = False  # text typed onto the page that has no letters of its own


@dataclass(frozen=True)
class PDF:
    """One parsed file: its pages and what its metadata says."""

    pages: tuple[Page, ...]
    title: str  # metadata title, cleaned; "" if it is missing or meaningless
    parser: str  # "pypdfium2 5.15.2"
    outline: tuple[tuple[int, str, int], ...] = ()  # (level from 0, title, page number)
    attachments: tuple[str, ...] = ()  # names of embedded files; never opened
    encrypted: bool = False  # a password was needed
    notices: tuple[str, ...] = field(default=())  # for people, in whole sentences


def read_pdf(path: Path, *, password: str | None = None, max_pages: int = 20_000, require_text: bool = True) -> PDF:
    """Return the pages and metadata of a file.

    The empty password is tried first, then `password`. Raises PasswordRequired, NoTextInPDF (if text is required),
    ParserLimit (too many pages or characters) or UnreadablePDF. A hostile file can also hang or use up memory: ingest.parsing guards against it.
    """
    check_file(path)
    reader = _pypdf_reader(path, password)  # opened once: that takes a fifth of the time of a file
    try:
        with pdfium.opened(path, password, layers.as_shown(path, password, reader=reader)) as document:
            _check_pages(path, len(document), max_pages)
            read = _read_pages(path, document)
            form = pdfium.xfa_form(document)
        parser = _version("pypdfium2")
    except (PasswordRequired, ParserLimit):
        raise
    except UnreadablePDF as refused:
        read = _read_by_pypdf(path, password, refused, max_pages)
        form = None
        parser = _version("pypdf")
    about = pypdf.read_metadata(path, password, reader)
    pages = _pages(read, about)
    if form and _is_placeholder("".join(page.text for page in pages), form):
        raise NoTextInPDF(f"{path.name} is an XFA form: its pages hold only a placeholder", _PRINT_XFA)
    if require_text and not any(page.text.strip() for page in pages):
        raise no_text(path, pages)
    return PDF(
        pages=pages,
        title=about.title,
        parser=parser,
        outline=tuple(entry for entry in about.outline if entry[2] <= len(pages)),
        attachments=about.attachments,
        encrypted=bool(password) and pdfium.needs_password(path),
        notices=_notices(parser, read, form, about),
    )


def no_text(path: Path, pages: tuple[Page, ...]) -> NoTextInPDF:
    """Return the error for a document without any text."""
    counts = f"{pluralize(len(pages), 'page')} ({_count_kinds(pages)})"
    return NoTextInPDF(f"{path.name}: no text in {counts}", _hint(pages))


def ocr_remedies() -> str:
    """Return how to get OCR: RapidOCR as an extra, or Tesseract as a program."""
    return f"{install_extra('ocr')}, or install Tesseract; the setting ocr must not be off"


def _is_placeholder(text: str, form: str) -> bool:
    """Return whether the pages of an XFA form only say which program shows it; in any language they name Adobe's."""
    return len(text) < _PLACEHOLDER and (form == "dynamic" or "adobe" in text.casefold())


def _pypdf_reader(path: Path, password: str | None) -> Any:
    """Return pypdf's reader, None if the file is damaged or encrypted: whoever needs it opens it again for the reason."""
    try:
        return pypdf.open_reader(path, password)
    except UnreadablePDF:
        return None


def check_file(path: Path) -> None:
    """Raise UnreadablePDF if the path is not a file, or the file is empty or plainly of another kind."""
    if not path.exists():
        raise UnreadablePDF(f"{path} does not exist", "check the path")
    if not path.is_file():
        raise UnreadablePDF(f"{path} is not a regular file", "give a PDF file or a folder of PDF files")
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as exc:
        raise UnreadablePDF(f"{path.name} cannot be opened: {exc.strerror}", "check its permissions") from exc
    if not head:
        raise UnreadablePDF(f"{path.name} is empty (0 bytes)", "download or copy it again")
    if b"%PDF-" not in head and (kind := _kind_of_bytes(head)):
        raise UnreadablePDF(f"{path.name} is not a PDF but {kind}", "give the PDF itself")


def _check_pages(path: Path, count: int, limit: int) -> None:
    if count > limit:
        raise ParserLimit(
            f"{path.name} has {count} pages, over the limit of {limit}", "raise parse_pages in quire.toml"
        )


def _read_pages(path: Path, document: Any) -> list[_RawPage]:
    import pypdfium2

    read: list[_RawPage] = []
    total = 0
    for index in range(len(document)):
        try:
            read.append(_read_page(document, index))
        except pypdfium2.PdfiumError:
            read.append(_RawPage(damaged=True))
        total += len(read[-1].raw)
        if total > _MAX_CHARACTERS:
            raise ParserLimit(f"{path.name} has over {_MAX_CHARACTERS:,} characters", "split it into parts")
    if all(page.damaged for page in read):
        raise UnreadablePDF(f"{path.name}: PDFium cannot load any of its {pluralize(len(read), 'page')}")
    return read


def _read_page(document: Any, index: int) -> _RawPage:
    with pdfium.text_page(document, index) as (page, text, shown):
        letters = Letters(text)
        ordered = pdfium.read_text(letters, shown)
        lines = tuple(pdfium.lines(letters, ordered))
        evidence = look(page, letters, ordered.raw)
        return _RawPage(ordered.raw, lines, evidence, ordered.uncertain, unread_notes=shown.incomplete)


def _read_by_pypdf(path: Path, password: str | None, refused: UnreadablePDF, max_pages: int) -> list[_RawPage]:
    try:
        reader = pypdf.open_reader(path, password)
        _check_pages(path, len(reader.pages), max_pages)
        read = pypdf.page_texts(reader, path)
    except (PasswordRequired, ParserLimit):
        raise
    except UnreadablePDF as exc:
        with path.open("rb") as file:
            if b"%PDF-" not in file.read(1024):
                raise UnreadablePDF(
                    f"{path.name} is not a PDF: it does not start with %PDF-", "give the PDF itself"
                ) from exc
        raise UnreadablePDF(
            f"{path.name} is damaged or not a PDF; {refused.message.removeprefix(f'{path.name}: ')} "
            f"pypdf: {exc.message.removeprefix(f'{path.name}: ')}",
            "open it in a viewer, save a copy, and try that",
        ) from exc
    return [_RawPage(text, evidence=Evidence(shows_something=images)) for text, images in read]


def _pages(read: list[_RawPage], about: pypdf.Metadata) -> tuple[Page, ...]:
    texts = [normalize(page.raw) for page in read]
    running_lines = layout.running_lines(texts)
    body = layout.body_size([page.lines for page in read])
    titles: dict[int, list[str]] = {}
    for _, title, number in about.outline:
        titles.setdefault(number, []).append(title)
    pages = []
    for index, (text, page) in enumerate(zip(texts, read, strict=True)):
        kind = judge(text, page.evidence, running_lines[index])
        label = (about.labels[index] if index < len(about.labels) else "") or str(index + 1)
        if kind == "garbled":  # letters that are not those of the page would only be found by mistake
            pages.append(Page(index + 1, label, "", kind, tuple(titles.get(index + 1, ()))))
            continue
        running = {text[a:b] for a, b in running_lines[index]}
        large = (normalize(page.raw[a:b]) for a, b in layout.headings(page.raw, page.lines, body=body))
        found = [*titles.get(index + 1, ()), *(line for line in large if line not in running)]
        headings = _without_repeats(found)
        pages.append(Page(index + 1, label, text, kind, headings, running_lines[index], page.uncertain_order))
    return tuple(pages)


def _without_repeats(titles: list[str]) -> tuple[str, ...]:
    kept: dict[str, str] = {}
    for title in titles:
        kept.setdefault(" ".join(title.casefold().split()), title)
    return tuple(kept.values())


def _notices(parser: str, read: list[_RawPage], form: str | None, about: pypdf.Metadata) -> tuple[str, ...]:
    notices = list(about.notices)
    notices += [f"Page {n} is damaged and could not be read." for n, page in enumerate(read, 1) if page.damaged]
    if unread := [str(n) for n, page in enumerate(read, 1) if page.unread_notes]:
        notices.append(
            f"Text typed onto page {', '.join(unread)} could not be read: print the file to a PDF and add that."
        )
    if form == "dynamic":
        notices.append(f"It is an XFA form, whose fields were not read: {_PRINT_XFA}.")
    if about.attachments:
        kind = "It is a portfolio: only its cover is read. " if about.is_portfolio else ""
        notices.append(f"{kind}Attached files are not read: {', '.join(about.attachments)}.")
    if parser.startswith("pypdf "):
        notices.append("PDFium refused the file and pypdf read it, so passages cannot be highlighted on the page.")
    return tuple(notices)


def _count_kinds(pages: tuple[Page, ...]) -> str:
    names = {"scanned": "with images", "garbled": "with letters that cannot be decoded", "blank": "blank"}
    counts = {name: sum(page.kind == kind for page in pages) for kind, name in names.items()}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _hint(pages: tuple[Page, ...]) -> str:
    if any(page.kind == "garbled" for page in pages):
        return f"its fonts do not say which letters they draw; OCR can read it: {ocr_remedies()}"
    if any(page.kind == "scanned" for page in pages):
        return f"it was probably scanned; OCR can read it: {ocr_remedies()}"
    return "its pages are blank: check that it is the right file"


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
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"{\\rtf", "an RTF document"),
    (b"\x7fELF", "a program"),
    (b"%!PS", "PostScript"),
)


def _version(package: str) -> str:
    return f"{package} {importlib.metadata.version(package)}"

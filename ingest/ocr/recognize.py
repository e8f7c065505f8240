"""The order of OCR for a document, in a parser process: draw, read, record, write the layer."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ingest.errors import IngestError, NoTextInPDF, ParserLimit
from ingest.ocr import engine as engines
from ingest.ocr.engine import Engine
from ingest.ocr.journal import Journal
from ingest.ocr.layer import draw, holds_a_line, write_layer
from ingest.ocr.page import PageText, read_page
from ingest.pdf import pdfium
from ingest.pdf.read import PDF, Page, no_text, read_pdf
from quire import pluralize

LAYERED = ".ocr"  # suffix of the copy with the text
_SHORTEST, _LONGEST = 1_280, 2_600  # pixels of the longer side of a page, however large it says it is
_loaded: dict[str, Engine] = {}  # of this process; its number of threads stays


@dataclass(frozen=True)
class Order:
    """What to use for the pages of a document that are not text."""

    engine: str  # as engines.ocr_engine named it
    threads: int
    page_seconds: float
    home: Path  # where the journal is
    journal: str  # its key


@dataclass(frozen=True)
class OcrProgress:
    """How far OCR is with one document: `page` is read now, 0 after the last."""

    page: int
    done: int
    total: int
    seconds_left: float


def recognized(
    path: Path, password: str | None, pdf: PDF, order: Order, report: Callable[[OcrProgress], None]
) -> tuple[PDF, Path | None]:
    """Return the document with the text of its pictures, and the path of its copy with a layer, None if nothing was read.

    The copy is beside `path`. Raises NoTextInPDF if the document still has no text at all.
    """
    wanted = [page.number for page in pdf.pages if page.kind in ("scanned", "garbled")]
    if not wanted or pdf.parser.startswith("pypdf "):  # PDFium draws the pages
        return _with_text(pdf, no_text(path, pdf.pages)), None
    journal = Journal(order.home, order.journal, order.engine)
    texts, failed = _read_pages(path, password, wanted, journal, order, report)
    reasons = tuple(f"Page {number} could not be read by OCR: {reason}." for number, reason in sorted(failed.items()))
    pdf = replace(pdf, notices=pdf.notices + reasons)
    read = {number: text for number, text in texts.items() if text.rows and number in wanted}
    none = NoTextInPDF(
        f"{path.name}: {pluralize(len(wanted), 'page')} with images, and OCR found no text in them",
        " ".join(reasons[:1]) or "open it in a viewer: are its pages legible?",
    )
    if not read:
        return _with_text(pdf, none), None
    layered = path.with_suffix(LAYERED)
    garbled = [page.number for page in pdf.pages if page.kind == "garbled"]
    write_layer(path, password, read, layered, as_pictures=garbled)
    again = read_pdf(layered, max_pages=len(pdf.pages), require_text=False)
    pages = tuple(_marked(page, read.get(page.number), order.engine) for page in again.pages)
    return _with_text(replace(pdf, pages=pages), none), layered


def _with_text(pdf: PDF, error: NoTextInPDF) -> PDF:
    if not any(page.text.strip() for page in pdf.pages):
        raise error
    return pdf


def _marked(page: Page, text: PageText | None, engine: str) -> Page:
    if text is None:
        return page
    return replace(page, kind="text" if page.text.strip() else "scanned", ocr=engine, confidence=text.confidence)


def _read_pages(
    path: Path,
    password: str | None,
    wanted: Sequence[int],
    journal: Journal,
    order: Order,
    report: Callable[[OcrProgress], None],
) -> tuple[dict[int, PageText], dict[int, str]]:
    texts, failed = journal.read()
    left = [number for number in wanted if number not in texts and number not in failed]
    expected = engines.expected_seconds(order.engine, order.threads)
    started = time.monotonic()
    for done, number in enumerate(left):
        if done:
            expected = (time.monotonic() - started) / done
        report(OcrProgress(number, len(wanted) - len(left) + done, len(wanted), expected * (len(left) - done)))
        try:
            texts[number] = _read_one(path, password, number, order)
            journal.add(number, texts[number])
        except ParserLimit as exc:
            failed[number] = exc.message
            journal.give_up(number, exc.message)
    report(OcrProgress(0, len(wanted), len(wanted), 0.0))
    return texts, failed


def _read_one(path: Path, password: str | None, number: int, order: Order) -> PageText:
    with pdfium.opened(path, password) as document:
        if not holds_a_line(document, number - 1):
            raise ParserLimit("what it shows is too small for a line of text")
        engine = _engine(order.engine, order.threads)
        picture = draw(document, number - 1, dpi=engine.dpi, shortest=_SHORTEST, longest=_LONGEST)
    try:
        return read_page(engine, picture, order.page_seconds)
    except MemoryError:
        gc.collect()
        raise ParserLimit("it needs more memory than ocr_memory_mb allows", "raise it in quire.toml") from None
    except IngestError:
        raise
    except Exception as exc:  # what a library raises about one page must not cost the others
        reason = (str(exc).strip().splitlines() or [""])[-1][:200]
        raise ParserLimit(f"{type(exc).__name__}: {reason}") from exc


def _engine(name: str, threads: int) -> Engine:
    if name not in _loaded:
        try:
            _loaded[name] = engines.load(name, threads)
        except IngestError:
            raise
        except MemoryError as exc:
            raise ParserLimit(f"{name} needs more memory than ocr_memory_mb allows", "raise it in quire.toml") from exc
        except Exception as exc:
            raise IngestError(
                f"{name} cannot be loaded: {type(exc).__name__}: {exc}", "set ocr to another engine"
            ) from exc
    return _loaded[name]

"""The record of a document that was read, with notices: pages without text, OCR, the language."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from ingest.config import IngestConfig
from ingest.files.names import file_name
from ingest.files.sources import Candidate
from ingest.parsing import Parsed
from ingest.pdf.read import Page, ocr_remedies
from ingest.store.contract import Document
from ingest.text.language import mostly_english

DECRYPTED = "the library keeps a decrypted copy, readable by you only"
_MINILM_CHARACTERS = 1200  # its 256 tokens hold about this much English prose
_UNSURE = 0.85  # confidence of a page; below, about every tenth word is wrong
_MAX_LABELS = 8


def document_record(
    candidate: Candidate,
    parsed: Parsed,
    config: IngestConfig,
    *,
    sha256: str,
    size: int,
    embedder: str,
    extra: dict[str, str],
) -> Document:
    """Return the record of a parsed file, named by its bare file name; what is empty in `extra` is left out."""
    pages = parsed.pdf.pages
    read = [page for page in pages if page.ocr]
    unread = tuple(page.number for page in pages if page.kind in ("scanned", "garbled"))
    engine = extra["ocr"]
    extra = extra | {
        "ocr": engine if read or unread else "",
        "ocr_pages": " ".join(f"{page.number}:{page.confidence:.2f}" for page in read),
    }
    return Document(
        id=candidate.document_id,
        source=candidate.source,
        name=extra["file_name"] or file_name(candidate.source),
        sha256=sha256,
        title=parsed.pdf.title,
        pages=len(pages),
        chunks=len(parsed.chunks),
        size_bytes=size,
        added_at=datetime.now(UTC).isoformat(timespec="seconds"),
        parser=parsed.pdf.parser,
        scanned_pages=unread,
        notices=tuple(_notices(parsed, config, embedder=embedder, engine=engine)),
        outline=parsed.pdf.outline,
        extra={name: value for name, value in extra.items() if value},
    )


def _notices(parsed: Parsed, config: IngestConfig, *, embedder: str, engine: str) -> list[str]:
    """Return whole sentences about a parsed file; `engine` is that of OCR, "" for none."""
    pages = parsed.pdf.pages
    found = list(parsed.pdf.notices)
    found += _ocr(pages)
    scanned = [page for page in pages if page.kind == "scanned"]
    found += _unsearchable(scanned, "is an image without text", "are images without text", engine)
    garbled = [page for page in pages if page.kind == "garbled"]
    found += _unsearchable(garbled, "has letters that cannot be decoded", "have letters that cannot be decoded", engine)
    if uncertain := [page for page in pages if page.uncertain_order]:
        found.append(f"the order of the text may be another than on the page; check it there: {_labels(uncertain)}")
    if parsed.pdf.encrypted:
        found.append(DECRYPTED)
    if embedder.startswith("all-MiniLM"):
        if config.chunk_size > _MINILM_CHARACTERS:
            found.append(
                f"chunks have up to {config.chunk_size} characters, but MiniLM reads about the first "
                f"{_MINILM_CHARACTERS}; the rest is found by its words only"
            )
        read = {page.number for page in pages if page.kind == "text"}  # a stamp has no language
        if not mostly_english(" ".join(chunk.text for chunk in parsed.chunks[:200] if chunk.page in read)):
            found.append("the text is mostly not English, and the embedding model MiniLM knows English only")
    return found


def _ocr(pages: Sequence[Page]) -> list[str]:
    read = [page for page in pages if page.ocr]
    if not read:
        return []
    what = "1 page was" if len(read) == 1 else f"{len(read)} pages were"
    found = [f"{what} read by OCR ({read[0].ocr}): {_labels(read)}"]
    if unsure := [page for page in read if page.confidence < _UNSURE]:
        found.append(f"OCR is unsure of what it read; check it on the page: {_labels(unsure)}")
    return found


def _unsearchable(pages: Sequence[Page], one: str, many: str, engine: str) -> list[str]:
    if not pages:
        return []
    what = f"1 page {one}" if len(pages) == 1 else f"{len(pages)} pages {many}"
    found = [f"{what} and cannot be searched: {_labels(pages)}"]
    return found if engine else [*found, f"OCR can read such pages: {ocr_remedies()}; then ingest the file again"]


def _labels(pages: Sequence[Page]) -> str:
    return ", ".join(page.label for page in pages[:_MAX_LABELS]) + (" and more" if len(pages) > _MAX_LABELS else "")

"""Which OCR engine reads: the one that is set, or the better one that is there."""

from __future__ import annotations

from typing import Any, Protocol

from ingest.errors import IngestError
from ingest.ocr import rapid, tesseract
from ingest.ocr.words import Piece
from quire import install_extra

_SECONDS_A_PAGE = {"rapidocr": 8.0, "tesseract": 2.0}  # of one core; docs/ocr.md has the measurements


class Engine(Protocol):
    """What reads a picture of a page."""

    name: str  # with its version; it is the parser of what it read
    dpi: int  # of the pictures that it reads best
    low_confidence: float  # of a page; below, the page is tried again in other ways

    def read(self, picture: Any, seconds: float) -> list[Piece]:
        """Return the pieces of text on a gray picture, uint8 [height, width]."""
        ...


def ocr_engine(ocr: str) -> str:
    """Return the name and version of the engine for a value of the setting `ocr`, "" for none.

    Raises IngestError if the engine that is named is not installed.
    """
    if ocr == "rapidocr" and not rapid.is_installed():
        raise IngestError("ocr is 'rapidocr', which is not installed", f"{install_extra('ocr')}, or set ocr = auto")
    if ocr == "rapidocr" or (ocr == "auto" and rapid.is_installed()):
        return rapid.version()
    if ocr == "tesseract" or (ocr == "auto" and tesseract.is_installed()):
        return tesseract.version()
    return ""


def load(name: str, threads: int) -> Engine:
    """Return the engine that `ocr_engine` named, ready to read with so many threads."""
    return rapid.RapidOCR(threads) if name.startswith("rapidocr") else tesseract.Tesseract()


def expected_seconds(name: str, threads: int) -> float:
    """Return about how long a page takes: RapidOCR uses all its threads, Tesseract one."""
    kind = name.split(" ")[0]
    return _SECONDS_A_PAGE[kind] / (0.9 * threads if kind == "rapidocr" and threads > 1 else 1)

"""The OCR engines of this machine; a test that needs one that is not there is skipped, and says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ingest.ocr import rapid, tesseract
from ingest.ocr.engine import Engine, load, ocr_engine

INSTALLED = {"rapidocr": rapid.is_installed, "tesseract": tesseract.is_installed}


@pytest.fixture(scope="session")
def engines() -> Callable[[str], Engine]:
    """Load an engine once for all tests."""
    loaded: dict[str, Engine] = {}

    def of(name: str) -> Engine:
        if not INSTALLED[name]():
            pytest.skip(f"{name} is not installed")
        if name not in loaded:
            loaded[name] = load(ocr_engine(name), 1)
        return loaded[name]

    return of


@pytest.fixture(params=["tesseract", "rapidocr"])
def engine(request: pytest.FixtureRequest, engines: Callable[[str], Engine]) -> Engine:
    return engines(request.param)


@pytest.fixture
def installed() -> str:
    """The faster engine of this machine, as the setting `ocr` names it."""
    for name in ("tesseract", "rapidocr"):
        if INSTALLED[name]():
            return name
    pytest.skip("neither Tesseract nor RapidOCR is installed")

"""A folder of PDFs for each module."""

from pathlib import Path

import pytest

from tests.ingest import pdfs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pdfs")


@pytest.fixture(scope="module")
def report(folder: Path) -> Path:
    return pdfs.report(folder / "report.pdf")

"""Which engine reads, and what the engines read."""

import re
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from ingest.errors import IngestError, ParserLimit
from ingest.ocr import rapid, tesseract
from ingest.ocr.engine import Engine, expected_seconds, load, ocr_engine
from ingest.ocr.words import in_reading_order
from tests.ingest import scans


def rows(engine: Engine, picture: Any, seconds: float = 120) -> list[str]:
    return [" ".join(word.text for word in row) for row in in_reading_order(engine.read(picture, seconds))]


@pytest.fixture
def drawn(tmp_path: Path) -> Any:
    import numpy as np

    path = tmp_path / "page.pdf"
    scans.statement(*scans.SALES).output(str(path))
    return lambda dpi: np.array(scans.picture(path, dpi=dpi))


def test_every_row_of_a_table_is_read_as_one_line(engine: Engine, drawn: Any) -> None:
    assert rows(engine, drawn(engine.dpi)) == [line.replace("|", " ") for line in scans.SALES]


def test_a_blank_page_has_no_text(engine: Engine) -> None:
    import numpy as np

    assert rows(engine, np.full((400, 300), 255, np.uint8)) == []


def test_auto_takes_rapidocr_then_tesseract_then_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rapid, "is_installed", lambda: False)
    monkeypatch.setenv("PATH", "")
    assert ocr_engine("auto") == ""
    assert ocr_engine("off") == ""
    with pytest.raises(IngestError, match=r"\[ocr\]"):
        ocr_engine("rapidocr")
    with pytest.raises(IngestError, match="apt install tesseract-ocr"):
        ocr_engine("tesseract")
    monkeypatch.setattr(rapid, "is_installed", lambda: True)
    monkeypatch.setattr(rapid, "version", lambda: "rapidocr 3.10.0")
    assert ocr_engine("auto") == "rapidocr 3.10.0"
    assert ocr_engine("off") == ""


def test_off_means_off_whatever_is_installed() -> None:
    assert ocr_engine("off") == ""


def test_the_estimate_of_rapidocr_falls_with_its_threads() -> None:
    assert expected_seconds("rapidocr 3.10.0", 1) > 1.5 * expected_seconds("rapidocr 3.10.0", 2)
    assert expected_seconds("tesseract 5.3.0", 1) == expected_seconds("tesseract 5.3.0", 4)


def test_rapidocr_reads_with_the_models_of_its_package_and_tries_no_network(
    monkeypatch: pytest.MonkeyPatch, drawn: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    if not rapid.is_installed():
        pytest.skip("rapidocr is not installed")

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert "Net sales 32,765 31,657 30,109" in rows(load(ocr_engine("rapidocr"), 1), drawn(150))
    assert "".join(capfd.readouterr()) == ""  # it says nothing


def test_rapidocr_without_its_models_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    if not rapid.is_installed():
        pytest.skip("rapidocr is not installed")
    monkeypatch.setattr(rapid, "_MODELS", {"Det": "no-such-model"})
    with pytest.raises(IngestError, match="force-reinstall"):
        rapid.RapidOCR(1)


def test_tesseract_is_stopped_after_its_time(drawn: Any) -> None:
    if not tesseract.is_installed():
        pytest.skip("tesseract is not installed")
    with pytest.raises(ParserLimit, match="longer than"):
        rows(load(ocr_engine("tesseract"), 1), drawn(200), 0.001)


def test_tesseract_says_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: Any) -> None:
    program = tmp_path / "tesseract"
    program.write_text(
        "#!/bin/sh\n"
        'case "$1" in --version) echo "tesseract 9.9";; --list-langs) echo "List of"; echo eng;;\n'
        ' *) cat > /dev/null; echo "Failed loading language" >&2; exit 1;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{Path(shutil.which('cat') or '').parent}")
    assert ocr_engine("tesseract") == "tesseract 9.9"
    with pytest.raises(IngestError, match="Failed loading language"):
        rows(load("tesseract 9.9", 1), drawn(50))


def test_versions_name_the_engine(engine: Engine) -> None:
    assert re.fullmatch(r"(rapidocr|tesseract) [\d.]+\S*", engine.name)

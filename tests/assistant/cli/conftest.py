"""A library of one manual, and a machine without Ollama."""

import io

import pytest
from fpdf import FPDF

from ingest.cli import main as ingest_main

PAGES = [
    "The warranty of the pump lasts 24 months. It covers the motor and the housing.",
    "Cleaning: rinse the filter with cold water every week. Never use soap.",
]


def write_pdf(path, pages):
    pdf = FPDF()
    pdf.set_font("Helvetica", size=12)
    for text in pages:
        pdf.add_page()
        pdf.multi_cell(0, 8, text)
    pdf.output(str(path))


@pytest.fixture(scope="package")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    write_pdf(home / "pump.pdf", PAGES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUIRE_HOME", str(home))
        assert ingest_main(["ingest", str(home / "pump.pdf")]) == 0
    return home


@pytest.fixture(autouse=True)
def environment(monkeypatch, request):
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    if "home" in request.fixturenames:
        monkeypatch.setenv("QUIRE_HOME", str(request.getfixturevalue("home")))
        monkeypatch.setenv("QUIRE_MODEL", "quotes")


@pytest.fixture
def type_lines(monkeypatch):
    """Return a function that puts lines into standard input."""

    def put(*lines):
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    return put

"""Small real PDFs for tests."""

from __future__ import annotations

from pathlib import Path


def write_pdf(path: Path, pages: list[str], *, title: str = "", password: str = "") -> Path:
    """Write one page a text; long texts are wrapped, never broken over pages by the tests that use this."""
    from fpdf import FPDF

    pdf = FPDF(format="A4")
    pdf.set_auto_page_break(False)
    if title:
        pdf.set_title(title)
    if password:
        pdf.set_encryption(owner_password=password + "-owner", user_password=password)
    for text in pages:
        pdf.add_page()
        pdf.set_font("Helvetica", size=11)
        pdf.multi_cell(0, 6, text)
    path.parent.mkdir(parents=True, exist_ok=True)
    pdf.output(str(path))
    return path


FACTS = {
    "whales.pdf": [
        "The blue whale is the largest animal known to have lived. Its heart weighs about 180 kilograms.",
        "Humpback whales sing songs that last up to twenty minutes and are repeated for hours.",
    ],
    "bridges.pdf": [
        "The Forth Bridge was opened in March 1890. It carries two railway tracks across the Firth of Forth.",
        "Its three cantilever towers are 110 metres tall. About 53,000 tonnes of steel were used in the structure.",
    ],
}


def write_facts(folder: Path) -> list[Path]:
    """Write two documents of two pages with facts that stand nowhere else."""
    return [write_pdf(folder / name, pages) for name, pages in FACTS.items()]

"""Small documents and short questions, as people keep and ask them: a manual, a lease, a price list, a policy.

Eight documents of one to five pages in three languages, and 218 questions by someone who did not know the ranking: in
other words than the page's, with typing errors, as single words; 53 of them the documents do not answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_suffix("")


@dataclass(frozen=True)
class EverydayQuestion:
    """A question about one of the documents."""

    document: str
    question: str
    answerable: bool


def read_everyday() -> list[EverydayQuestion]:
    """Return the questions."""
    lines = (FOLDER / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [EverydayQuestion(**json.loads(line)) for line in lines]


def write_documents(folder: Path) -> list[Path]:
    """Write the documents as PDFs into a folder, and return their paths."""
    documents = json.loads((FOLDER / "documents.json").read_text(encoding="utf-8"))
    return [_write(document, folder) for document in documents]


def _write(document: dict[str, Any], folder: Path) -> Path:
    from fpdf import FPDF

    class Pdf(FPDF):
        def header(self) -> None:
            if document["head"]:
                self.set_font("helvetica", size=8)
                self.cell(0, 6, document["head"], new_x="LMARGIN", new_y="NEXT")
                self.ln(4)

        def footer(self) -> None:
            self.set_y(-15)
            self.set_font("helvetica", size=8)
            self.cell(0, 6, f"{document['foot']} Page {self.page_no()}", align="C")

    pdf = Pdf()
    pdf.set_auto_page_break(True, 20)
    for page in document["pages"]:
        pdf.add_page()
        for kind, content in page:
            _write_part(pdf, kind, content)
    path = folder / document["name"]
    pdf.output(str(path))
    return path


def _write_part(pdf: Any, kind: str, content: Any) -> None:
    """Write a heading ("h"), a paragraph ("p") or the rows of a table ("t")."""
    pdf.set_font("helvetica", "B" if kind == "h" else "", {"h": 14, "p": 11, "t": 10}[kind])
    if kind == "h":
        pdf.cell(0, 9, content, new_x="LMARGIN", new_y="NEXT")
    elif kind == "p":
        pdf.multi_cell(0, 6, content, new_x="LMARGIN", new_y="NEXT")
        pdf.ln(2)
    else:
        with pdf.table() as table:
            for cells in content:
                row = table.row()
                for cell in cells:
                    row.cell(cell)
        pdf.ln(3)

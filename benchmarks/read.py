"""Pages read per CPU second, ours with metadata, headings and running lines beside pypdf's bare text, on the same files."""

from __future__ import annotations

import time

from benchmarks.corpus import typical
from benchmarks.table import show
from ingest.pdf.read import read_pdf
from ingest.text.chunks import split


def main(argv: list[str]) -> None:
    """Read three PDFs of middling size both ways in one process and print pages per CPU second."""
    from pypdf import PdfReader

    files = typical(3)
    pages = sum(len(PdfReader(path).pages) for path in files)
    rows = []
    for name, read in (
        ("quire read_pdf and split", _ours),
        ("pypdf extract_text", lambda path: sum(bool(page.extract_text()) for page in PdfReader(path).pages)),
    ):
        started, wall = time.process_time(), time.perf_counter()
        for path in files:
            read(path)
        cpu = time.process_time() - started
        rows.append(
            {
                "reader": name,
                "pages": pages,
                "pages/CPU s": pages / cpu,
                "wall s": time.perf_counter() - wall,
            }
        )
    rows[0]["times"], rows[1]["times"] = rows[0]["pages/CPU s"] / rows[1]["pages/CPU s"], 1.0  # type: ignore[operator]
    show("read", f"Reading {len(files)} PDFs (aim: 10 times pypdf)", rows)


def _ours(path: object) -> object:
    pdf = read_pdf(path)  # type: ignore[arg-type]
    return split(pdf, document_id="d", document="d", sha256="0", size=500, overlap=75)


if __name__ == "__main__":
    main([])

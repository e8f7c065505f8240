"""Scans made on the spot: pages of generated PDFs, drawn by PDFium and put on paper again by Pillow."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pypdfium2
from fpdf import FPDF
from PIL import Image, ImageFilter

DPI = 150
SALES = (
    "Consolidated statement of income",
    "Years ended December 31 (millions)",
    "Net sales|32,765|31,657|30,109",
    "Cost of sales|16,682|16,055|15,118",
    "Operating income|7,207|7,692|7,027",
    "The company sold its gas business for 519 million.",
)


def statement(*lines: str, size: int = 11) -> FPDF:
    """Return one page with the given lines; what stands behind a bar is a cell of a column of figures."""
    pdf = FPDF(format="A4")
    pdf.set_auto_page_break(False)
    pdf.add_page()
    pdf.set_font("Helvetica", size=size)
    for number, line in enumerate(lines):
        label, *cells = line.split("|")
        pdf.text(20, 25 + 8 * number, label)
        for column, cell in enumerate(cells):
            pdf.text(100 + 30 * column, 25 + 8 * number, cell)
    return pdf


def picture(pdf: Path, page: int = 1, *, dpi: int = DPI, turn: float = 0.0) -> Image.Image:
    """Return a page as a gray picture, turned clockwise."""
    with pypdfium2.PdfDocument(pdf) as document:
        drawn = document[page - 1].render(scale=dpi / 72).to_pil().convert("L")
    quarters = round(turn / 90)
    upright = drawn.rotate(-90 * quarters, expand=True)
    return upright.rotate(90 * quarters - turn, fillcolor=255, resample=Image.Resampling.BICUBIC)


def spoiled(drawn: Image.Image) -> Image.Image:
    """Return a picture as a bad copier makes it: blurred, with the same specks each time."""
    specks = np.random.default_rng(0).random((drawn.height, drawn.width)) < 0.02
    return Image.fromarray(np.where(specks, 90, np.array(drawn.filter(ImageFilter.GaussianBlur(0.8)))).astype(np.uint8))


def scan(path: Path, *pictures: Image.Image, dpi: int = DPI) -> Path:
    """Write pictures as the pages of a PDF without text."""
    first, *others = pictures
    first.save(path, format="PDF", resolution=dpi, save_all=True, append_images=others)
    return path


def bomb(path: Path, *, side: int) -> Path:
    """Write a page whose picture is small in the file and has `side` by `side` pixels, then a readable scan."""
    from pypdf import PdfReader, PdfWriter
    from pypdf.generic import StreamObject

    from tests.ingest.pdfs import Own, as_pdf

    scanned(path, statement(*SALES))
    writer = PdfWriter(clone_from=PdfReader(path))
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(side)) for _ in range(side)) + packer.flush()
    picture = StreamObject()
    picture._data = data
    about = {"Type": "/XObject", "Subtype": "/Image", "Width": side, "Height": side, "BitsPerComponent": 8}
    picture.update(as_pdf(about | {"ColorSpace": "/DeviceGray", "Filter": "/FlateDecode"}, writer))
    writer.insert_blank_page(595, 842, 0)
    content = {"Resources": {"XObject": {"P": Own(picture)}}, "Contents": Own(b"595 0 0 842 0 0 cm /P Do")}
    writer.pages[0].update(as_pdf(content, writer))
    writer.write(path)
    return path


def scanned(path: Path, pdf: FPDF, *, turn: float = 0.0) -> Path:
    """Write a scan of a document, page by page."""
    plain = path.with_suffix(".original.pdf")
    pdf.output(str(plain))
    with pypdfium2.PdfDocument(plain) as document:
        count = len(document)
    return scan(path, *(picture(plain, number, turn=turn) for number in range(1, count + 1)))

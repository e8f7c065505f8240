"""Small real PDFs made on the spot by fpdf2 and pypdf, each with one property under test."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from fpdf import FPDF
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, NumberObject, StreamObject

SENTENCE = "The quick brown fox jumps over the lazy dog near the riverbank. "


def document(*pages: str, size: int = 11, title: str = "") -> FPDF:
    """Return a document with one page a text."""
    pdf = FPDF(format="A4")
    pdf.set_auto_page_break(False)
    pdf.set_font("Helvetica", size=size)
    if title:
        pdf.set_title(title)
    for text in pages:
        pdf.add_page()
        pdf.multi_cell(0, 6, text)
    return pdf


def saved(pdf: FPDF, path: Path) -> Path:
    pdf.output(str(path))
    return path


def encrypted(path: Path, *, user: str, owner: str | None, algorithm: str = "AES-256") -> Path:
    plain = saved(document("Secret words in here."), path.with_suffix(".plain.pdf"))
    writer = PdfWriter(clone_from=PdfReader(plain))
    writer.encrypt(user_password=user, owner_password=owner, algorithm=algorithm)
    writer.write(path)
    return path


def turned(
    path: Path, *, rotation: int, crop: tuple[int, int, int, int] | None = None, text: str = SENTENCE * 8
) -> Path:
    plain = saved(document(text), path.with_suffix(".plain.pdf"))
    writer = PdfWriter(clone_from=PdfReader(plain))
    page = writer.pages[0]
    if crop is not None:
        page.cropbox = page.cropbox.__class__(crop)
    page.rotate(rotation)
    writer.write(path)
    return path


def two_columns(path: Path) -> Path:
    pdf = document()
    pdf.add_page()
    left = "Left column tells of apples and pears. " * 12
    right = "Right column speaks about ships and harbours. " * 12
    pdf.set_xy(10, 20)
    pdf.multi_cell(85, 6, left)
    pdf.set_xy(110, 20)
    pdf.multi_cell(85, 6, right)
    return saved(pdf, path)


def picture_page(pdf: FPDF, path: Path) -> None:
    """Add a page that holds a picture and nothing else."""
    from PIL import Image

    file = path.with_suffix(".png")
    Image.linear_gradient("L").save(file)
    pdf.add_page()
    pdf.image(str(file), x=10, y=10, w=150)


def report(path: Path) -> Path:
    """Six pages with running header and footer, headings in large type, an outline, and page labels i, ii, 1 to 4."""
    pdf = document(title="Annual Report of Acme")
    for number in range(1, 7):
        pdf.add_page()
        pdf.set_font("Helvetica", size=8)
        pdf.text(20, 10, "ACME Corporation | Annual Report 2020")
        pdf.start_section(f"Section {number}")
        pdf.set_font("Helvetica", size=18)
        pdf.set_xy(10, 20)
        pdf.cell(0, 10, f"Chapter about topic {'ABCDEF'[number - 1]}")
        pdf.set_font("Helvetica", size=11)
        pdf.set_xy(10, 40)
        own = " ".join(f"{'abcdefgh'[number]}{'klmnopqr'[i % 8]}{'uvwxyz'[i // 8]} wanders here." for i in range(40))
        pdf.multi_cell(0, 6, f"Only here stands fact number {number}, with its own words. {own}")
        pdf.set_font("Helvetica", size=8)
        pdf.text(100, 290, f"Page {number} of 6")
    plain = saved(pdf, path.with_suffix(".plain.pdf"))
    writer = PdfWriter(clone_from=PdfReader(plain))
    writer.set_page_label(0, 1, style="/r")
    writer.set_page_label(2, 5, style="/D")
    writer.add_attachment("figures.csv", b"a,b\n1,2\n")
    writer.write(path)
    return path


def form(path: Path) -> Path:
    """One page with a text field that says "Grace Hopper", which stands in no content stream of the page."""
    writer = PdfWriter(clone_from=PdfReader(saved(document("Name of applicant:"), path.with_suffix(".plain.pdf"))))
    appearance = StreamObject()
    appearance.set_data(b"/Tx BMC BT /Helv 12 Tf 2 5 Td (Grace Hopper) Tj ET EMC")
    font = DictionaryObject(
        {NameObject("/Type"): NameObject("/Font"), NameObject("/Subtype"): NameObject("/Type1")}
        | {NameObject("/BaseFont"): NameObject("/Helvetica"), NameObject("/Encoding"): NameObject("/WinAnsiEncoding")}
    )
    fonts = DictionaryObject({NameObject("/Helv"): writer._add_object(font)})
    resources = DictionaryObject({NameObject("/Font"): fonts})
    appearance.update(
        {
            NameObject("/Type"): NameObject("/XObject"),
            NameObject("/Subtype"): NameObject("/Form"),
            NameObject("/BBox"): ArrayObject([NumberObject(n) for n in (0, 0, 200, 20)]),
            NameObject("/Resources"): resources,
        }
    )
    from pypdf.generic import TextStringObject

    widget = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Annot"),
            NameObject("/Subtype"): NameObject("/Widget"),
            NameObject("/FT"): NameObject("/Tx"),
            NameObject("/T"): TextStringObject("name"),
            NameObject("/V"): TextStringObject("Grace Hopper"),
            NameObject("/F"): NumberObject(4),
            NameObject("/Rect"): ArrayObject([NumberObject(n) for n in (100, 600, 300, 620)]),
            NameObject("/AP"): DictionaryObject({NameObject("/N"): writer._add_object(appearance)}),
        }
    )
    reference = writer._add_object(widget)
    writer.pages[0][NameObject("/Annots")] = ArrayObject([reference])
    writer.root_object[NameObject("/AcroForm")] = writer._add_object(
        DictionaryObject({NameObject("/Fields"): ArrayObject([reference]), NameObject("/DR"): resources})
    )
    writer.write(path)
    return path


def bomb(path: Path, *, megabytes: int) -> Path:
    """A file of a few hundred kB whose page unfolds to `megabytes` of drawing text one letter at a time."""
    packer = zlib.compressobj(9)
    block = b"BT /F1 9 Tf 10 10 Td (abcdefgh) Tj ET\n" * 26_000  # about 1 MB
    data = b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (len(data), data),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body, offsets = b"%PDF-1.7\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj%s\nendobj\n" % (number, content)
    xref = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start = len(body)
    body += b"xref\n0 6\n0000000000 65535 f \n" + xref
    body += b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % start
    path.write_bytes(body)
    return path


def drawn(
    path: Path, *contents: bytes, resources: dict[str, Any] | None = None, root: dict[str, Any] | None = None
) -> Path:
    """Pages with the given content streams, Helvetica as /F1; the dictionaries are added to resources and catalog.

    A value that is `Own` becomes an object of its own.
    """
    writer = PdfWriter()
    font = DictionaryObject(
        {NameObject("/Type"): NameObject("/Font"), NameObject("/Subtype"): NameObject("/Type1")}
        | {NameObject("/BaseFont"): NameObject("/Helvetica"), NameObject("/Encoding"): NameObject("/WinAnsiEncoding")}
    )
    for content in contents:
        page = writer.add_blank_page(595, 842)
        stream = StreamObject()
        stream.set_data(content)
        page[NameObject("/Contents")] = writer._add_object(stream)
        page[NameObject("/Resources")] = as_pdf(
            {"Font": DictionaryObject({NameObject("/F1"): font})} | (resources or {}), writer
        )
    for key, value in (root or {}).items():
        writer.root_object[NameObject(f"/{key}")] = as_pdf(value, writer)
    writer.write(path)
    return path


def as_pdf(value: Any, writer: PdfWriter) -> Any:
    """Return a Python value as a PDF object: names are strings with a slash."""
    from pypdf.generic import BooleanObject, FloatObject, TextStringObject

    if isinstance(value, Own):
        if value.reference is None:
            made = as_pdf(value.content, writer)
            value.reference = made if isinstance(value.content, bytes) else writer._add_object(made)
        return value.reference
    if isinstance(value, DictionaryObject | ArrayObject | StreamObject):
        return value
    if isinstance(value, dict):
        return DictionaryObject({NameObject(f"/{key}"): as_pdf(one, writer) for key, one in value.items()})
    if isinstance(value, list):
        return ArrayObject([as_pdf(one, writer) for one in value])
    if isinstance(value, bytes):
        stream = StreamObject()
        stream.set_data(value)
        return writer._add_object(stream)
    if isinstance(value, bool):
        return BooleanObject(value)
    if isinstance(value, str):
        return NameObject(value) if value.startswith("/") else TextStringObject(value)
    return FloatObject(value)


class Own:
    """A value that is an object of its own in the file, which other values refer to."""

    def __init__(self, content: Any) -> None:
        self.content = content
        self.reference: Any = None


def annotated(path: Path, text: str | None, *annotations: dict[str, Any], root: dict[str, Any] | None = None) -> Path:
    """One page of text with annotations on it; without text they are added to the file at `path`."""
    plain = path if text is None else saved(document(text), path.with_suffix(".plain.pdf"))
    writer = PdfWriter(clone_from=PdfReader(plain))
    shown = [writer._add_object(as_pdf({"Type": "/Annot", "F": 4} | one, writer)) for one in annotations]
    writer.pages[0][NameObject("/Annots")] = ArrayObject(shown)
    for key, value in (root or {}).items():
        fields = {"Fields": ArrayObject(shown)} if key == "AcroForm" else {}
        writer.root_object[NameObject(f"/{key}")] = as_pdf(fields | value if fields else value, writer)
    writer.write(path)
    return path


def form_xobject(content: bytes, width: int, height: int) -> Own:
    """A drawing of its own, with Helvetica as /F1."""
    drawing = StreamObject()
    drawing.set_data(content)
    font = {"Type": "/Font", "Subtype": "/Type1", "BaseFont": "/Helvetica"}
    form = {"Subtype": "/Form", "BBox": [0, 0, width, height], "Resources": {"Font": {"F1": font}}}
    drawing.update(as_pdf(form, PdfWriter()))
    return Own(drawing)

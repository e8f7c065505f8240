"""Scans with a stamp and letters that cannot be decoded are not taken for text; everything else is."""

import textwrap
from pathlib import Path
from typing import Any

import pytest

from ingest.errors import NoTextInPDF
from ingest.pdf.legibility import Evidence, is_plausible, judge
from ingest.pdf.read import read_pdf
from tests.ingest import pdfs

_LANGUAGES = {
    "English": "The notice period is six months for both parties unless the contract says otherwise in writing.",
    "German": "Die Kündigungsfrist beträgt sechs Monate für beide Vertragsparteien, sofern nichts anderes vereinbart ist.",
    "French": "Le délai de préavis est de six mois pour les deux parties sauf disposition contraire du contrat.",
    "Polish": "Okres wypowiedzenia wynosi sześć miesięcy dla obu stron, chyba że umowa stanowi inaczej na piśmie.",
    "Czech": "Výpovědní doba činí šest měsíců pro obě strany, pokud smlouva výslovně písemně nestanoví jinak.",
    "Finnish": "Irtisanomisaika on kuusi kuukautta molemmille osapuolille, ellei sopimuksessa kirjallisesti toisin sovita.",
    "Hungarian": "A felmondási idő mindkét fél számára hat hónap, kivéve ha a szerződés írásban másként rendelkezik.",
    "Turkish": "Sözleşmede yazılı olarak aksi belirtilmedikçe ihbar süresi her iki taraf için altı aydır ve uzatılabilir.",
    "Vietnamese": "Thời hạn thông báo là sáu tháng đối với cả hai bên trừ khi hợp đồng quy định khác bằng văn bản.",
    "Greek": "Η προθεσμία καταγγελίας είναι έξι μήνες και για τα δύο μέρη, εκτός αν η σύμβαση ορίζει γραπτώς κάτι άλλο.",
    "Ukrainian": "Строк повідомлення становить шість місяців для обох сторін, якщо договір письмово не передбачає іншого.",
    "Hebrew": "תקופת ההודעה המוקדמת היא שישה חודשים לשני הצדדים אלא אם כן נקבע אחרת בכתב בחוזה השכירות הזה.",
    "Arabic": "مدة الإشعار ستة أشهر للطرفين ما لم ينص العقد كتابة على خلاف ذلك ويجب أن يصل الإشعار قبل اليوم الأول.",
    "Persian": "مهلت اعلام برای هر دو طرف شش ماه است مگر آنکه در قرارداد به صورت کتبی خلاف آن مقرر شده باشد و امضا شود.",
    "Chinese": "除非合同另有书面约定双方的通知期均为六个月通知必须在季度的第一天之前送达房东押金为两个月的租金并在移交钥匙之前支付",
    "Japanese": "契約書に別段の定めがない限り通知期間は双方とも六か月であり通知は四半期の初日までに家主に届かなければならない",
    "Russian": "Срок уведомления составляет шесть месяцев для обеих сторон, если договор не предусматривает иное.",
}


@pytest.mark.parametrize("language", _LANGUAGES)
def test_text_of_any_language_is_plausible(language: str) -> None:
    assert is_plausible(_LANGUAGES[language] * 3)


@pytest.mark.parametrize("shift", [-29, 3, 7, 13])
def test_letters_moved_along_the_alphabet_are_not(shift: int) -> None:
    moved = "".join(c if c == " " else chr(ord(c) + shift) for c in _LANGUAGES["English"] * 3)
    if shift > 0:
        moved = "".join(chr((ord(c) - 97 + shift) % 26 + 97) if c.islower() else c for c in _LANGUAGES["English"] * 3)
    assert not is_plausible(moved)


_FIRST = {"Cyrillic": "А", "Arabic": "ء", "Chinese": "尀", "accents": "À", "symbols": "∀", "one letter": "A"}


@pytest.mark.parametrize("letters", _FIRST)
def test_a_wrong_table_of_characters_makes_no_text_of_any_script(folder: Path, letters: str) -> None:
    """A font of glyph numbers whose table of characters names those of another script, backward, or one for all."""
    sentence = _LANGUAGES["English"].lower() * 4
    step = {"Chinese": 7, "one letter": 0}.get(letters, 1)
    wrong = {code: ord(_FIRST[letters]) + step * (122 - code) for code in range(97, 123)}
    path = _with_table(folder / "wrong.pdf", sentence, {code: wrong.get(code, code) for code in range(32, 127)})
    with pytest.raises(NoTextInPDF, match="letters that cannot be decoded"):
        read_pdf(path)


@pytest.mark.parametrize(
    "first", [None, 0xE000, 0xF020], ids=["no table", "private use", "private use of symbol fonts"]
)
def test_glyphs_without_characters_are_garbled(folder: Path, first: int | None) -> None:
    table = {code: first + code - 32 for code in range(32, 127)} if first else None
    with pytest.raises(NoTextInPDF, match="letters that cannot be decoded"):
        read_pdf(_with_table(folder / "unknown.pdf", _LANGUAGES["English"], table))


def test_glyphs_with_the_right_characters_are_text(folder: Path) -> None:
    right = {code: code for code in range(32, 127)}
    (page,) = read_pdf(_with_table(folder / "right.pdf", _LANGUAGES["English"], right)).pages
    assert page.kind == "text" and page.text.split() == _LANGUAGES["English"].split()


@pytest.mark.parametrize("name", ["/g{}", "/a{}", "/C{:04d}"])
def test_drawn_glyphs_with_names_of_their_own_are_garbled(folder: Path, name: str) -> None:
    """A Type3 font as TeX and scanners write it, without a table of characters."""
    names = {code: name.format(code) for code in range(33, 123)}
    font = {
        "Type": "/Font",
        "Subtype": "/Type3",
        "FontBBox": [0, 0, 600, 700],
        "FontMatrix": [0.001, 0, 0, 0.001, 0, 0],
        "FirstChar": 33,
        "LastChar": 122,
        "Widths": [600] * 90,
        "Encoding": {"Type": "/Encoding", "Differences": [33, *names.values()]},
        "CharProcs": {one[1:]: pdfs.Own(b"600 0 0 0 500 700 d1 50 0 400 600 re f") for one in names.values()},
    }
    content = _shown_by(_LANGUAGES["English"].replace(" ", "!"), "{:02x}")
    path = pdfs.drawn(folder / "type3.pdf", content, resources={"Font": {"T": font}})
    with pytest.raises(NoTextInPDF, match="letters that cannot be decoded"):
        read_pdf(path)


def _shown_by(text: str, code: str) -> bytes:
    lines = textwrap.wrap(text, 60)
    drawn = (
        f"BT /T 11 Tf 60 {760 - 16 * n} Td <{''.join(code.format(ord(c)) for c in t)}> Tj ET"
        for n, t in enumerate(lines)
    )
    return "\n".join(drawn).encode()


def _with_table(path: Path, text: str, table: dict[int, int] | None) -> Path:
    """One page in a font of glyph numbers (Identity-H), with `table` as its /ToUnicode."""
    about = {"Type": "/FontDescriptor", "FontName": "/Own", "Flags": 4, "FontBBox": [0, -200, 1000, 800], "StemV": 80}
    glyphs = {
        "Type": "/Font",
        "Subtype": "/CIDFontType2",
        "BaseFont": "/Own",
        "CIDSystemInfo": {"Registry": "Adobe", "Ordering": "Identity", "Supplement": 0},
        "DW": 600,
        "FontDescriptor": pdfs.Own(about | {"ItalicAngle": 0, "Ascent": 800, "Descent": -200, "CapHeight": 700}),
    }
    font: dict[str, Any] = {"Type": "/Font", "Subtype": "/Type0", "BaseFont": "/Own", "Encoding": "/Identity-H"}
    font["DescendantFonts"] = [pdfs.Own(glyphs)]
    if table is not None:
        pairs = "\n".join(f"<{code:04x}> <{to:04x}>" for code, to in table.items())
        font["ToUnicode"] = pdfs.Own(
            f"begincmap 1 begincodespacerange <0000> <ffff> endcodespacerange\n"
            f"{len(table)} beginbfchar\n{pairs}\nendbfchar endcmap".encode()
        )
    return pdfs.drawn(path, _shown_by(text, "{:04x}"), resources={"Font": {"T": font}})


def test_a_list_of_codes_is_too_little_to_call_it_garbled() -> None:
    assert is_plausible("BXK-4711 QWZ-0815 HJK-99 " * 40)
    assert is_plausible("".join(f"HJKT {n} BXKW-{n} QWZX{n:05} " for n in range(60)))


def test_a_stamp_on_a_picture_of_paper_does_not_make_a_page_text() -> None:
    assert judge("Envelope ID: 7F3A-22C1", Evidence(is_picture=True)) == "scanned"
    assert judge("Envelope ID: 7F3A-22C1", Evidence()) == "text"
    assert judge(_LANGUAGES["English"] * 3, Evidence(is_picture=True)) == "text"


def test_repeated_lines_of_any_length_are_a_stamp() -> None:
    stamp = _LANGUAGES["English"] * 3
    assert judge(stamp + "\nPage 3", Evidence(is_picture=True), ((0, len(stamp)),)) == "scanned"


def _scan(path: Path, *stamps: str, picture: str = "paper", at: float = 285, strips: int = 1) -> Path:
    """One page a stamp: a picture over the page (paper with or without lines, or a photograph), and the stamp as text."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(3)
    pixels = np.full((420, 297), 246, dtype=np.uint8)
    pixels[10:30, 30:90] = 60  # a letterhead
    if picture == "few lines":
        pixels[60:80:9, 30:120] = random.integers(0, 90, (3, 90))
    if picture in ("paper", "dark paper"):
        pixels[100:380:9, 30:260] = random.integers(0, 90, (32, 230))
    if picture == "dark paper":
        pixels = (pixels * 0.75 + random.normal(0, 14, (420, 297))).clip(0, 255).astype(np.uint8)
    if picture == "photograph":
        across = np.linspace(0, 255, 297)[None, :] * np.linspace(0.2, 1, 420)[:, None]
        pixels = (across + random.integers(0, 20, (420, 297))).clip(0, 255).astype(np.uint8)
    pdf = pdfs.document()
    for stamp in stamps:
        pdf.add_page()
        for part in range(strips):
            rows = pixels[420 * part // strips : 420 * (part + 1) // strips]
            pdf.image(Image.fromarray(rows), 0, 297 * part / strips, 210, 297 / strips)
        pdf.set_font("Helvetica", size=8)
        pdf.set_xy(10, at)
        pdf.multi_cell(0, 4, stamp)
    return pdfs.saved(pdf, path)


_LONG_STAMP = (
    "DocuSign Envelope ID: 7F3A22C1-90DE-4B2A-8F11-0C77A1B2C3D4\nSigned electronically by Ingrid Halvorsen on "
    "14 September 2026 at 10:42 CET, certificate 99-12-AB. Downloaded from https://example.org/stable/4711"
)


@pytest.mark.parametrize(
    ("stamps", "more"),
    [
        (["ACME-0004711"], {"picture": "dark paper"}),
        (["03/12/2026 10:42 FAX +47 55 12 34 56 ACME SHIPPING AS -> HALDEN FERRIES P.001/006"], {"at": 4}),
        ([_LONG_STAMP], {"at": 280}),
        ([_LONG_STAMP] * 4, {"at": 280}),
        (["ACME-0004711"], {"strips": 12}),
        (["RECEIVED 3 MARCH 2026\nCity Archive"], {"at": 120}),
        (["Envelope ID: 7F3A-22C1-90DE   page 1 of 6"], {"at": 6, "picture": "few lines"}),
    ],
    ids=["dark", "fax header", "long", "long and alike on all pages", "picture in strips", "stamp across", "few lines"],
)
def test_a_stamp_on_a_scan_is_no_text_wherever_and_however_long(
    folder: Path, stamps: list[str], more: dict[str, Any]
) -> None:
    pytest.importorskip("PIL")
    pages = read_pdf(_scan(folder / "stamped.pdf", *stamps, **more)).pages
    assert [page.kind for page in pages] == ["scanned"] * len(stamps)


@pytest.mark.parametrize(
    "letter", ["Invoice 4711\nTotal EUR 320", "Dear Ms Halvorsen,\nthank you.\nKind regards, ACME"]
)
def test_a_short_letter_on_a_picture_of_its_paper_is_text(folder: Path, letter: str) -> None:
    pytest.importorskip("PIL")
    (page,) = read_pdf(_scan(folder / "letter.pdf", letter, picture="letterhead", at=100)).pages
    assert page.kind == "text"


def test_a_scan_drawn_by_a_scaled_form_is_a_scan(folder: Path) -> None:
    lines = b"".join(b"\xf6" * 3960 + b"\x14" * 99 * 2 for _ in range(20))
    picture = b"BI /W 99 /H 840 /CS /G /BPC 8 ID " + lines.ljust(99 * 840, b"\xf6") + b" EI"
    content = b"q 595 0 0 842 0 0 cm /Scan Do Q BT /F1 9 Tf 20 20 Td (ACME-0001) Tj ET"
    path = pdfs.drawn(folder / "form.pdf", content, resources={"XObject": {"Scan": pdfs.form_xobject(picture, 1, 1)}})
    assert [page.kind for page in read_pdf(path).pages] == ["scanned"]


def test_scans_with_a_line_of_text_are_listed_as_scans(folder: Path) -> None:
    pytest.importorskip("PIL")
    source = read_pdf(_scan(folder / "scan.pdf", *(f"ACME000{n} CONFIDENTIAL" for n in range(4))))
    assert [page.kind for page in source.pages] == ["scanned"] * 4
    assert source.pages[2].text == "ACME0002 CONFIDENTIAL"  # the stamp can still be found


def test_a_cover_with_a_photograph_is_text(folder: Path) -> None:
    pytest.importorskip("PIL")
    (page,) = read_pdf(_scan(folder / "cover.pdf", "Annual Report 2025", picture="photograph")).pages
    assert page.kind == "text"


def test_letters_of_a_font_without_a_table_of_characters_are_not_read(folder: Path) -> None:
    garbled = "".join(c if c == " " else chr(ord(c) - 29) for c in _LANGUAGES["English"].replace("z", "y") * 3)
    path = pdfs.saved(pdfs.document(garbled), folder / "garbled.pdf")
    with pytest.raises(NoTextInPDF, match="letters that cannot be decoded") as failed:
        read_pdf(path)
    assert "OCR can read it" in str(failed.value.hint)


def test_one_garbled_page_costs_no_other_page(folder: Path) -> None:
    garbled = "".join(c if c == " " else chr(ord(c) - 29) for c in _LANGUAGES["English"].replace("z", "y") * 3)
    source = read_pdf(pdfs.saved(pdfs.document(_LANGUAGES["English"], garbled), folder / "half.pdf"))
    assert [(page.kind, bool(page.text)) for page in source.pages] == [("text", True), ("garbled", False)]

"""Scans with a stamp and letters that cannot be decoded are not taken for text; everything else is."""

from pathlib import Path

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


def test_a_list_of_codes_is_too_little_to_call_it_garbled() -> None:
    assert is_plausible("BXK-4711 QWZ-0815 HJK-99 " * 40)


def test_a_stamp_on_a_picture_of_paper_does_not_make_a_page_text() -> None:
    assert judge("Envelope ID: 7F3A-22C1", Evidence(is_picture=True)) == "scanned"
    assert judge("Envelope ID: 7F3A-22C1", Evidence()) == "text"
    assert judge(_LANGUAGES["English"] * 3, Evidence(is_picture=True)) == "text"


def test_repeated_lines_of_any_length_are_a_stamp() -> None:
    stamp = _LANGUAGES["English"] * 3
    assert judge(stamp + "\nPage 3", Evidence(is_picture=True), ((0, len(stamp)),)) == "scanned"


def _scan(path: Path, *stamps: str, picture: str = "paper") -> Path:
    """One page a stamp: a picture over the page (paper with lines, or a photograph), and the stamp as text."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(3)
    pixels = np.full((420, 297), 246, dtype=np.uint8)
    pixels[40:380:9, 30:260] = random.integers(0, 90, (38, 230))
    if picture == "photograph":
        across = np.linspace(0, 255, 297)[None, :] * np.linspace(0.2, 1, 420)[:, None]
        pixels = (across + random.integers(0, 20, (420, 297))).clip(0, 255).astype(np.uint8)
    pdf = pdfs.document()
    for stamp in stamps:
        pdf.add_page()
        pdf.image(Image.fromarray(pixels), 0, 0, 210, 297)
        pdf.set_xy(10, 285)
        pdf.cell(text=stamp)
    return pdfs.saved(pdf, path)


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

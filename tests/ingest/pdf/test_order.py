from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from fpdf import FPDF
from pypdf import PdfReader, PdfWriter

from ingest.ocr.layer import _blank_font
from ingest.pdf.read import read_pdf
from ingest.pdf.render import page_rectangles, page_tables
from tests.ingest import pdfs
from tests.ingest.pdfs import saved

LEFT = (
    "The tenant may end the lease with a notice of three months to the end of a quarter. The notice must be given in "
    "writing and must reach the landlord before the first day of the quarter, or it counts for the next one."
)
RIGHT = (
    "The deposit amounts to two monthly rents and is paid before the keys are handed over. It bears interest at the "
    "usual rate of savings accounts and is returned within six weeks after the tenant has moved out."
)
THIRD = (
    "Pets are allowed as long as they disturb nobody else in the house. The caretaker keeps a list of them, and whoever "
    "wants to keep a snake asks the landlord first and waits for his answer in writing."
)


def page(size: float = 10, font: str = "Helvetica") -> FPDF:
    pdf = FPDF(unit="pt", format="A4")
    pdf.set_auto_page_break(False)
    pdf.add_page()
    pdf.set_font(font, size=size)
    return pdf


def row_by_row(pdf: FPDF, texts: list[str], places: list[float], *, top: float, width: int, step: float) -> None:
    wrapped = [textwrap.wrap(text, width) for text in texts]
    for number in range(max(map(len, wrapped))):
        for lines, left in zip(wrapped, places, strict=True):
            if number < len(lines):
                pdf.text(left, top + number * step, lines[number])


def text_of(path: Path) -> str:
    return read_pdf(path).pages[0].text


def flat(path: Path) -> str:
    return " ".join(text_of(path).split())


@pytest.mark.parametrize(("size", "left", "right"), [(10, 60, 320), (8, 40, 240), (12, 30, 340)])
def test_columns_written_row_by_row_are_read_one_after_the_other(tmp_path, size, left, right):
    pdf = page(size)
    pdf.text(left, 60, "Terms of the lease")
    row_by_row(pdf, [LEFT, RIGHT], [left, right], top=90, width=44, step=1.3 * size)
    found = flat(saved(pdf, tmp_path / "a.pdf"))
    assert found == f"Terms of the lease {LEFT} {RIGHT}"


def test_three_columns_written_row_by_row_are_read_one_after_the_other(tmp_path):
    pdf = page(8)
    row_by_row(pdf, [LEFT, RIGHT, THIRD], [30, 215, 400], top=60, width=40, step=11)
    assert flat(saved(pdf, tmp_path / "a.pdf")) == f"{LEFT} {RIGHT} {THIRD}"


def test_columns_that_blanks_hold_apart_are_read_one_after_the_other(tmp_path):
    pdf = page(8, "Courier")
    columns = [textwrap.wrap(text, 40) for text in (LEFT, RIGHT)]
    for number, (left, right) in enumerate(zip(*columns, strict=True)):
        pdf.text(40, 60 + 11 * number, f"{left:<48}{right}")
    assert flat(saved(pdf, tmp_path / "a.pdf")) == f"{LEFT} {RIGHT}"


def test_full_lines_above_and_below_columns_stay_there(tmp_path):
    above = (
        "This lease is made between the owner of the house and the tenant who signs at the end of it, in two copies."
    )
    below = "Both parties have read all of the terms above, have received a copy each, and agree to every one of them."
    pdf = page(9)
    pdf.text(40, 50, above)
    row_by_row(pdf, [LEFT, RIGHT], [40, 310], top=80, width=44, step=12)
    pdf.text(40, 200, below)
    assert flat(saved(pdf, tmp_path / "a.pdf")) == f"{above} {LEFT} {RIGHT} {below}"


def test_columns_of_a_turned_page_are_read_one_after_the_other(tmp_path):
    pdf = page(10)
    row_by_row(pdf, [LEFT, RIGHT], [60, 320], top=90, width=44, step=13)
    writer = PdfWriter(clone_from=PdfReader(saved(pdf, tmp_path / "plain.pdf")))
    writer.pages[0].rotate(90)
    writer.pages[0].transfer_rotation_to_content()
    writer.write(tmp_path / "a.pdf")
    assert flat(tmp_path / "a.pdf") == f"{LEFT} {RIGHT}"


TABLE = [
    ["Berth", "Summer", "Winter", "Per day"],
    ["North pier", "410", "190", "8.50"],
    ["South pier", "380", "170", "7.90"],
    ["East basin", "520", "240", "11.00"],
]


@pytest.mark.parametrize(("size", "step"), [(11, 18), (9, 11), (14, 30)])
def test_a_table_written_column_by_column_keeps_its_rows(tmp_path, size, step):
    pdf = page(size)
    pdf.text(60, 60, "Fees of the marina")
    for column in range(4):
        for number, row in enumerate(TABLE):
            pdf.text(60 + 110 * column, 90 + step * number, row[column])
    pdf.text(60, 90 + step * 6, "All fees are in euros.")
    lines = text_of(saved(pdf, tmp_path / "a.pdf")).strip().split("\n")
    assert lines == ["Fees of the marina", *(" ".join(row) for row in TABLE), "All fees are in euros."]


def test_a_missing_cell_does_not_move_the_cells_below_it(tmp_path):
    pdf = page()
    for column in range(4):
        for number, row in enumerate(TABLE):
            if (column, number) != (2, 2):
                pdf.text(60 + 110 * column, 90 + 16 * number, row[column])
    lines = text_of(saved(pdf, tmp_path / "a.pdf")).strip().split("\n")
    assert lines[2:] == ["South pier 380 7.90", "East basin 520 240 11.00"]


@pytest.mark.parametrize("written", [((LEFT, 60), (RIGHT, 320)), ((RIGHT, 320), (LEFT, 60))])
def test_columns_of_prose_are_read_from_the_left_in_whatever_order_they_are_written(tmp_path, written):
    pdf = page()
    for text, left in written:
        row_by_row(pdf, [text], [left], top=90, width=44, step=13)
    assert flat(saved(pdf, tmp_path / "a.pdf")) == f"{LEFT} {RIGHT}"


def test_a_table_written_row_by_row_keeps_its_rows(tmp_path):
    rows = [
        ["Proceeds from the sale of short-term investments", "which the bank keeps for the company", "1,577"],
        ["Payments for the purchase of long-term bonds", "of which most are due within two years", "1,373"],
        ["Dividends that were paid to shareholders", "and to those who hold preferred stock", "1,420"],
        ["Other changes of cash and restricted cash", "including effects of exchange rates", "82"],
        ["Net change of cash in the year under review", "as shown in the balance sheet", "15"],
    ]
    pdf = page(8)
    for number, row in enumerate(rows):
        for text, left in zip(row, (40, 270, 500), strict=True):
            pdf.text(left, 90 + 12 * number, text)
    lines = text_of(saved(pdf, tmp_path / "a.pdf")).strip().split("\n")
    assert lines == [" ".join(row) for row in rows]


def test_a_heading_written_last_is_read_before_its_text(tmp_path):
    pdf = page()
    row_by_row(pdf, [LEFT], [60], top=100, width=90, step=13)
    row_by_row(pdf, [RIGHT], [60], top=200, width=90, step=13)
    pdf.text(60, 180, "Deposit")
    pdf.text(60, 80, "Notice")
    assert flat(saved(pdf, tmp_path / "a.pdf")) == f"Notice {LEFT} Deposit {RIGHT}"


def test_heads_of_a_table_stay_above_it_where_the_page_number_is_written_first(tmp_path):
    pdf = page()
    pdf.text(290, 800, "34")
    for left, head in ((250, "Pension"), (340, "Health"), (430, "Other")):
        pdf.text(left, 90, head)
        pdf.text(left, 102, "plans")
    statement = [
        ("Rate for service costs", "3.59", "3.44", "2.54"),
        ("Rate for interest costs", "2.54", "2.32", "1.41"),
    ]
    for number, cells in enumerate(statement):
        for left, cell in zip((60, 250, 340, 430), cells, strict=True):
            pdf.text(left, 120 + 14 * number, cell)
    for number, line in enumerate(textwrap.wrap(LEFT, 80)):
        pdf.text(60, 200 + 14 * number, line)
    found = flat(saved(pdf, tmp_path / "a.pdf"))
    assert found.index("Pension") < found.index("Rate for service") < found.index(LEFT[:30]) < found.index("34", -3)
    assert found.index("Health") < found.index("Other") < found.index("Rate for service")


def test_labels_keep_their_values_where_a_box_above_them_is_written_last(tmp_path):
    pdf = page()
    facts = [
        (("Admitted to", "the Union"), ("November 16,", "1907 (46th)")),
        (("Largest", "metro area"), ("Oklahoma City", "and Shawnee")),
        (("Lieutenant", "Governor"), ("Todd Lamb", "(elected)")),
    ]
    for number, (label, value) in enumerate(facts):
        for left, words in ((360, label), (460, value)):
            for line, text in enumerate(words):
                pdf.text(left, 200 + 40 * number + 13 * line, text)
    for line, text in enumerate(textwrap.wrap(f"This is an old revision. {LEFT}", 90)):
        pdf.text(60, 90 + 14 * line, text)
    found = flat(saved(pdf, tmp_path / "a.pdf"))
    assert found.startswith("This is an old revision.")
    assert found.endswith(" ".join(" ".join((*label, *value)) for label, value in facts))


def test_the_mark_of_a_moved_passage_lies_on_its_words(tmp_path):
    pdf = page()
    row_by_row(pdf, [LEFT, RIGHT], [60, 320], top=90, width=44, step=13)
    path = saved(pdf, tmp_path / "a.pdf")
    text = text_of(path)
    start = text.index("deposit amounts")
    (box,) = page_rectangles(path, 1, start, start + len("deposit amounts"))
    left = 320 + pdf.get_string_width("The ")
    assert box[0] == pytest.approx(left / pdf.w, abs=0.003)
    assert box[2] == pytest.approx((left + pdf.get_string_width("deposit amounts")) / pdf.w, abs=0.003)
    assert box[1] < 90 / pdf.h < box[3] + 0.005


def test_words_that_are_drawn_one_by_one_with_wide_blanks_stay_on_one_line(tmp_path):
    pdf = page(8)
    words = ["If", "we", "are", "unable", "to", "grow", "our", "brand", "our", "business", "may", "be", "harmed"]
    for number, word in enumerate(words):
        pdf.text(40 + 40 * number, 100, word)
    assert text_of(saved(pdf, tmp_path / "a.pdf")).strip() == " ".join(words)


def test_a_hyphen_at_a_line_end_joins_its_word_in_columns_written_row_by_row(tmp_path):
    left = [
        "the notice reaches the land-",
        "lord before the first day of",
        "a quarter and is in writing",
        "as the terms of it require",
    ]
    right = [
        "the deposit bears interest",
        "at the rate of usual sav-",
        "ings accounts and is paid",
        "back after some weeks",
    ]
    pdf = page()
    for number, (one, other) in enumerate(zip(left, right, strict=True)):
        pdf.text(40, 100 + 13 * number, one)
        pdf.text(320, 100 + 13 * number, other)
    found = flat(saved(pdf, tmp_path / "a.pdf"))
    assert "sav- ings" in found or "savings" in found
    assert "land- lord" in found or "landlord" in found
    assert found.index("require") < found.index("deposit")


_SHOWN = b"BT /F1 12 Tf 60 700 Td (The rent is 1,285 euros.) Tj 0 -20 Td (It is due on the first.) Tj ET "


@pytest.mark.parametrize(
    "hidden",
    [
        b"BT /F1 12 Tf 60 -40 Td (Slug line 12.03.2026) Tj ET",
        b"BT /F1 12 Tf 700 400 Td (Proof of the printer) Tj ET",
        b"BT /F1 12 Tf 60 900 Td (Above the page) Tj ET",
        b"BT 0 1 -1 0 -30 300 Tm /F1 12 Tf (Turned, beside the page) Tj ET",
        b"q /G0 gs BT /F1 12 Tf 60 600 Td (Transparent words) Tj ET Q",
    ],
    ids=["below", "beside", "above", "turned", "transparent"],
)
def test_text_that_the_page_does_not_show_is_not_read(tmp_path, hidden):
    clear = {"ExtGState": {"G0": {"ca": 0, "CA": 0}}}
    for content in (_SHOWN + hidden, hidden + b" " + _SHOWN):
        text = read_pdf(pdfs.drawn(tmp_path / "hidden.pdf", content, resources=clear)).pages[0].text
        assert text.strip() == "The rent is 1,285 euros.\nIt is due on the first."


@pytest.mark.parametrize("mode", [b"3 Tr", b"/G0 gs"], ids=["render mode 3", "transparent"])
def test_the_invisible_text_of_ocr_is_read(tmp_path, mode):
    content = b"q " + mode + b" " + _SHOWN + b"Q BT /F1 9 Tf 60 30 Td (Scanned by ACME) Tj ET"
    path = pdfs.drawn(tmp_path / "ocr.pdf", content, resources={"ExtGState": {"G0": {"ca": 0}}})
    assert "The rent is 1,285 euros." in read_pdf(path).pages[0].text


def test_what_is_cropped_away_is_not_read(tmp_path):
    whole = pdfs.drawn(tmp_path / "whole.pdf", _SHOWN + b"BT /F1 12 Tf 60 100 Td (The next page) Tj ET")
    writer = PdfWriter(clone_from=PdfReader(whole))
    writer.pages[0].cropbox = writer.pages[0].cropbox.__class__((0, 300, 595, 842))
    writer.pages[0].rotate(90)
    writer.write(tmp_path / "cropped.pdf")
    text = read_pdf(tmp_path / "cropped.pdf").pages[0].text
    assert text.strip() == "The rent is 1,285 euros.\nIt is due on the first."


def test_an_order_that_stays_in_doubt_is_reported_and_no_other(tmp_path):
    sure, doubtful, prose = page(), page(), page()
    row_by_row(sure, [LEFT, RIGHT], [60, 320], top=90, width=44, step=13)
    row_by_row(doubtful, [LEFT, RIGHT[:110]], [60, 320], top=90, width=44, step=13)  # three lines have two columns
    for pdf, name in ((sure, "sure"), (doubtful, "doubtful")):
        (read,) = read_pdf(saved(pdf, tmp_path / f"{name}.pdf")).pages
        assert read.uncertain_order is (name == "doubtful")
    for number, line in enumerate(textwrap.wrap(LEFT, 80)):
        prose.text(60, 90 + 13 * number, line)
    assert not read_pdf(saved(prose, tmp_path / "prose.pdf")).pages[0].uncertain_order


def test_dates_and_what_is_missing_are_cells_of_a_table_of_four_rows(tmp_path):
    pdf = page()
    columns = [["Item", "Rent", "Deposit", "Cleaning"], ["Due", "1 March 2026", "15 March 2026", "31 May 2026"]]
    for left, cells in zip((60, 220, 380), [*columns, ["EUR", "1,285", "3,900", "n/a"]], strict=True):
        for number, cell in enumerate(cells):
            pdf.text(left, 100 + 14 * number, cell)
    rows = text_of(saved(pdf, tmp_path / "a.pdf")).split("\n")
    assert rows[:4] == [
        "Item Due EUR",
        "Rent 1 March 2026 1,285",
        "Deposit 15 March 2026 3,900",
        "Cleaning 31 May 2026 n/a",
    ]


def test_columns_of_unlike_baselines_and_four_narrow_ones_are_read_one_after_the_other(tmp_path):
    for step, drop, width, places, size in ((13, 4, 40, (60, 320), 10), (10, 0, 22, (40, 170, 300, 430), 8)):
        texts = [LEFT, RIGHT, THIRD, LEFT][: len(places)]
        pdf = page(size)
        wrapped = [textwrap.wrap(text, width) for text in texts]
        for number in range(max(map(len, wrapped))):
            for column, lines in enumerate(wrapped):
                if number < len(lines):
                    pdf.text(places[column], 90 + step * number + drop * column, lines[number])
        assert flat(saved(pdf, tmp_path / "a.pdf")) == " ".join(texts)


def test_marks_that_the_file_holds_last_are_read_in_their_rows(tmp_path):
    pdf = page()
    rows = [("Standby letters of credit", "2,439"), ("Surety bonds", "810"), ("From the 15 day of March on", "318")]
    for number, (label, figure) in enumerate(rows):
        pdf.text(60, 100 + 14 * number, label)
        pdf.text(360, 100 + 14 * number, figure)
    pdf.text(60, 300, "Table of obligations")
    pdf.set_font("Helvetica", size=6.5)
    for x, y, mark in ((174, 97, "(a)"), (379, 111, "(2)"), (113, 125, "th")):
        pdf.text(x, y, mark)
    path = saved(pdf, tmp_path / "marks.pdf")
    assert text_of(path).split("\n")[:4] == [
        "Standby letters of credit (a) 2,439",
        "Surety bonds 810 (²)",
        "From the 15 th day of March on 318",
        "Table of obligations",
    ]
    assert [row.cells[0].value for row in page_tables(path, 1)] == ["2,439", "810 (²)", "318"]


@pytest.mark.parametrize(("scale", "step"), [(0.4, 15), (0.5, 14), (0.55, 15)])
def test_lines_that_pdfium_does_not_part_are_parted(tmp_path, scale, step):
    lines = [["Net income", "1,263", "709"], ["Depreciation", "636", "604"], ["Deferred taxes", "230", "207"]]
    drawn = [  # as programs for annual reports write: turned over twice, a piece at a time, a blank behind figures
        f"q 0.03125 0 0 0.03125 0 0 cm q 1 0 0 -1 {32 * left} {32 * (40 + step * number)} cm "
        f"BT /F1 352 Tf ({cell}{' ' * bool(place)}) Tj ET Q Q"
        for number, line in enumerate(lines)
        for place, (left, cell) in enumerate(zip((20, 220, 280), line, strict=True))
    ]
    content = f"q {scale} 0 0 -{scale} 17 774 cm {' '.join(drawn)} Q"
    path = pdfs.drawn(tmp_path / "a.pdf", content.encode())
    assert [line.split() for line in text_of(path).splitlines()] == [" ".join(line).split() for line in lines]


VERTICAL = ["吾輩は猫である名前はまだ無い", "どこで生れたか頓と見当がつかぬ", "何でも薄暗いじめじめした所で"]


@pytest.mark.parametrize("encoding", ["/Identity-V", "/Identity-H"])  # a column a string, or letter by letter
@pytest.mark.parametrize("columns", [[0, 1, 2], [2, 1, 0], [1, 0, 2]])  # in the file
def test_columns_of_vertical_japanese_are_read_from_the_right(tmp_path, encoding, columns):
    codes = {letter: f"{number:04x}" for number, letter in enumerate(sorted(set("".join(VERTICAL))), 1)}
    table = "\n".join(f"<{code}> <{ord(letter):04x}>" for letter, code in codes.items())
    about = {"Type": "/FontDescriptor", "FontName": "/Own", "Flags": 4, "FontBBox": [0, -200, 1000, 800], "StemV": 80}
    about |= {"ItalicAngle": 0, "Ascent": 800, "Descent": -200, "CapHeight": 700, "FontFile2": pdfs.Own(_blank_font())}
    glyphs = {
        "Type": "/Font",
        "Subtype": "/CIDFontType2",
        "BaseFont": "/Own",
        "DW": 1000,
        "FontDescriptor": pdfs.Own(about),
    }
    glyphs["CIDSystemInfo"] = {"Registry": "Adobe", "Ordering": "Identity", "Supplement": 0}
    glyphs["CIDToGIDMap"] = pdfs.Own(b"\0\1" * 100)
    font = {"Type": "/Font", "Subtype": "/Type0", "BaseFont": "/Own", "Encoding": encoding}
    font["DescendantFonts"] = [pdfs.Own(glyphs)]
    font["ToUnicode"] = pdfs.Own(
        f"begincmap 1 begincodespacerange <0000> <ffff> endcodespacerange\n{len(codes)} beginbfchar\n{table}\n"
        "endbfchar endcmap".encode()
    )
    drawn = []
    for column in columns:
        written = [codes[letter] for letter in VERTICAL[column]]
        parts = ["".join(written)] if encoding == "/Identity-V" else written
        drawn += [f"1 0 0 1 {360 - 24 * column} {460 - 14 * n} Tm <{part}> Tj" for n, part in enumerate(parts)]
    content = f"BT /T 14 Tf {' '.join(drawn)} ET".encode()
    path = pdfs.drawn(tmp_path / "a.pdf", content, resources={"Font": {"T": font}})
    assert text_of(path).splitlines() == VERTICAL

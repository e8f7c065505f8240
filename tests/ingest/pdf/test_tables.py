from __future__ import annotations

from pathlib import Path

import pytest
from fpdf import FPDF

from ingest.pdf.read import read_pdf
from ingest.pdf.render import page_rectangles, page_tables
from tests.ingest.pdf.test_order import page
from tests.ingest.pdfs import saved

CASH = [
    ("Net income", ["5,363", "4,869", "5,058"]),
    ("Purchases of property and equipment", ["(1,577)", "(1,373)", "(1,420)"]),
    ("Acquisitions, net of cash", ["13", "-", "(16)"]),
]


def right(pdf: FPDF, edge: float, y: float, text: str) -> None:
    """Write a text that ends at `edge`, a closing bracket behind it, as reports set figures."""
    shown = text.removesuffix(")")
    pdf.text(edge - pdf.get_string_width(shown), y, text)


def statement(pdf: FPDF, rows=CASH, *, edges=(360, 440, 520), top=120, step=14, currency="$") -> None:
    for number, (label, figures) in enumerate(rows):
        y = top + step * number
        pdf.text(50, y, label)
        for edge, figure in zip(edges, figures, strict=True):
            if currency and number == 0:
                pdf.text(edge - 45, y, currency)
            right(pdf, edge, y, figure)


def rows_of(pdf: FPDF, path: Path) -> list[str]:
    return [str(row) for row in page_tables(saved(pdf, path / "a.pdf"), 1)]


def test_a_row_has_its_label_the_years_above_its_figures_and_the_unit(tmp_path):
    pdf = page()
    pdf.text(50, 60, "Consolidated Statement of Cash Flows")
    pdf.text(50, 100, "(in millions)")
    for edge, year in zip((360, 440, 520), ("2018", "2017", "2016"), strict=True):
        right(pdf, edge, 100, year)
    statement(pdf)
    assert rows_of(pdf, tmp_path) == [
        "Net income: 2018 $ 5,363; 2017 $ 4,869; 2016 $ 5,058 (in millions)",
        "Purchases of property and equipment: 2018 (1,577); 2017 (1,373); 2016 (1,420) (in millions)",
        "Acquisitions, net of cash: 2018 13; 2017 -; 2016 (16) (in millions)",
    ]


@pytest.mark.parametrize("size", [7, 10, 13])
def test_a_period_centered_over_the_years_belongs_to_each(tmp_path, size):
    pdf = page(size)
    pdf.text(430 - pdf.get_string_width("Year ended June 30,") / 2, 80, "Year ended June 30,")
    for edge, year in zip((360, 440, 520), ("2018", "2017", "2016"), strict=True):
        right(pdf, edge, 100, year)
    statement(pdf, currency="")
    assert rows_of(pdf, tmp_path)[0] == (
        "Net income: Year ended June 30, 2018 5,363; Year ended June 30, 2017 4,869; Year ended June 30, 2016 5,058"
    )


def test_a_head_over_two_of_the_columns_is_not_that_of_the_others(tmp_path):
    pdf = page(8)
    edges = (250, 310, 370, 450, 530)
    pdf.text(485 - pdf.get_string_width("Change from the year before") / 2, 90, "Change from the year before")
    for edge, head in zip(edges, ("2018", "2017", "2016", "2018", "2017"), strict=True):
        right(pdf, edge, 102, head)
    statement(pdf, [("Sales", ["108", "88", "73", "22", "21"])], edges=edges, currency="")
    assert rows_of(pdf, tmp_path) == [
        "Sales: 2018 108; 2017 88; 2016 73; Change from the year before 2018 22; Change from the year before 2017 21"
    ]


def test_heads_of_words_and_of_several_lines_are_joined_from_the_top(tmp_path):
    pdf = page()
    for line, words in enumerate((("Average", "Shares"), ("price", "bought"))):
        for edge, word in zip((360, 480), words, strict=True):
            right(pdf, edge, 90 + 12 * line, word)
    rows = [("October", ["172.13", "2,650,628"]), ("November", ["198.20", "3,164,013"])]
    statement(pdf, rows, edges=(360, 480), currency="")
    assert rows_of(pdf, tmp_path) == [
        "October: Average price 172.13; Shares bought 2,650,628",
        "November: Average price 198.20; Shares bought 3,164,013",
    ]


def test_a_year_in_front_of_a_row_is_its_label_and_a_long_head_is_cut_between_words(tmp_path):
    pdf = page()
    head = [
        "Payments for rents of all",
        "offices that are let to us",
        "in every year from now on",
        "after those in dispute",
    ]
    for line, words in enumerate(head):
        right(pdf, 440, 60 + 12 * line, words)
    for row, year in enumerate(("2017", "2018", "2019")):
        pdf.text(50, 120 + 15 * row, year)
        right(pdf, 440, 120 + 15 * row, "123,456,789,290")
    rows = rows_of(pdf, tmp_path)
    assert [row.split(":")[0] for row in rows] == ["2017", "2018", "2019"]
    shown = rows[1].removeprefix("2018: ").removesuffix(" 123,456,789,290")
    assert 60 < len(shown) <= 80
    assert " ".join(head).endswith(f" {shown}")


def test_a_label_on_two_lines_is_one_label(tmp_path):
    pdf = page()
    for edge, year in zip((360, 440, 520), ("2018", "2017", "2016"), strict=True):
        right(pdf, edge, 100, year)
    statement(pdf, CASH[:1], currency="")
    pdf.text(50, 134, "Changes in assets and liabilities, without the effects")
    statement(pdf, [("of acquisitions", ["1", "2", "3"])], top=146, currency="")
    assert rows_of(pdf, tmp_path)[1] == (
        "Changes in assets and liabilities, without the effects of acquisitions: 2018 1; 2017 2; 2016 3"
    )


def test_a_second_table_has_its_own_heads_and_unit(tmp_path):
    pdf = page()
    for edge, year in zip((360, 440, 520), ("2018", "2017", "2016"), strict=True):
        right(pdf, edge, 100, year)
    statement(pdf, currency="")
    pdf.text(50, 220, "Amounts in thousands of euros")
    for edge, year in zip((360, 440, 520), ("2015", "2014", "2013"), strict=True):
        right(pdf, edge, 240, year)
    statement(pdf, CASH[:1], top=260, currency="")
    rows = rows_of(pdf, tmp_path)
    assert rows[0] == "Net income: 2018 5,363; 2017 4,869; 2016 5,058"
    assert rows[-1] == "Net income: 2015 5,363; 2014 4,869; 2013 5,058 (Amounts in thousands)"


def test_prose_with_figures_is_no_table(tmp_path):
    pdf = page()
    pdf.text(50, 100, "In 2018 the company bought 13 ships for $1,577 million, and sold 4 of them in 2019.")
    pdf.text(50, 114, "See Note 12 for the 3 ships that were leased.")
    assert rows_of(pdf, tmp_path) == []


def test_a_row_and_its_figures_stand_where_they_are_on_the_page(tmp_path):
    pdf = page()
    for edge, year in zip((360, 440, 520), ("2018", "2017", "2016"), strict=True):
        right(pdf, edge, 100, year)
    statement(pdf, currency="")
    path = saved(pdf, tmp_path / "a.pdf")
    text = read_pdf(path).pages[0].text
    row = page_tables(path, 1)[1]
    assert text[row.start : row.end] == "Purchases of property and equipment (1,577) (1,373) (1,420)"
    cell = row.cells[1]
    assert text[cell.start : cell.end] == cell.value == "(1,373)"
    (box,) = page_rectangles(path, 1, cell.start, cell.end)
    assert box[0] < (440 - pdf.get_string_width("1,37")) / pdf.w < box[2]

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


def in_cells(pdf: FPDF, heads: list[tuple[float, list[str]]], *, top: float, step: float = 12) -> None:
    """Write heads of several lines cell by cell, each line ending at the right edge of its column."""
    for edge, lines in heads:
        for number, line in enumerate(lines):
            right(pdf, edge, top + step * number, line)


def test_heads_of_several_lines_beside_shorter_ones_keep_to_their_columns(tmp_path):
    pdf = page()
    cells = [
        (250, ["", "", "Employees"]),
        (310, ["", "Full-time", "equivalents"]),
        (375, ["Share of", "women", "(percent)"]),
    ]
    for left, lines in cells:
        for number, line in enumerate(lines):
            pdf.text(left, 76 + 12 * number, line)
    for top, row in ((120, ("North", "1,204", "1,100.5", "48.2")), (134, ("South", "870", "801.0", "51.9"))):
        for left, cell in zip((50, 250, 310, 375), row, strict=True):
            pdf.text(left, top, cell)
    assert rows_of(pdf, tmp_path) == [
        "North: Employees 1,204; Full-time equivalents 1,100.5; Share of women (percent) 48.2",
        "South: Employees 870; Full-time equivalents 801.0; Share of women (percent) 51.9",
    ]


def test_a_title_with_more_space_below_it_is_not_a_head(tmp_path):
    pdf = page()
    pdf.text(420, 60, "Store Update")
    in_cells(
        pdf,
        [(360, ["Opened in", "the quarter"]), (440, ["Closed in", "the quarter"]), (520, ["At the", "end"])],
        top=88,
    )
    statement(pdf, [("1st quarter", ["10", "0", "1,318"])], currency="")
    assert rows_of(pdf, tmp_path) == [
        "1st quarter: Opened in the quarter 10; Closed in the quarter 0; At the end 1,318"
    ]


def test_a_dash_behind_a_currency_is_a_figure(tmp_path):
    pdf = page()
    in_cells(pdf, [(360, ["Activision"]), (440, ["Blizzard"]), (520, ["King"])], top=100)
    statement(pdf, [("Balance at the end of 2018", ["-", "12", "-"]), ("Costs", ["76", "29", "27"])])
    assert rows_of(pdf, tmp_path)[0] == "Balance at the end of 2018: Activision $ -; Blizzard $ 12; King $ -"


def test_a_column_that_begins_in_a_later_row_is_of_the_same_table(tmp_path):
    pdf = page()
    for edge, year in zip((360, 440, 520), ("2018", "2017", "2016"), strict=True):
        right(pdf, edge, 100, year)
    statement(
        pdf, [("Plan assets", ["6,291", "6,177"]), ("Contributions", ["32", "30"])], edges=(360, 440), currency=""
    )
    pdf.text(50, 152, "Change in benefit obligation")
    statement(pdf, [("Service cost", ["92", "94", "8"])], top=166, currency="")
    assert rows_of(pdf, tmp_path)[-1] == "Service cost: 2018 92; 2017 94; 2016 8"


def test_dates_below_a_table_are_heads_of_the_next_one(tmp_path):
    pdf = page()
    in_cells(pdf, [(360, ["Units"]), (440, ["Price"])], top=100)
    statement(pdf, [("Granted", ["4,832", "25.31"])], edges=(360, 440), currency="")
    in_cells(pdf, [(360, ["June 30, 2018"]), (440, ["June 30, 2017"])], top=160)
    statement(pdf, [("Compensation cost", ["46", "33"])], edges=(360, 440), top=176, currency="")
    assert rows_of(pdf, tmp_path)[-1] == "Compensation cost: June 30, 2018 46; June 30, 2017 33"


def test_a_year_above_the_last_of_its_columns_belongs_to_all_of_them(tmp_path):
    pdf = page()
    edges = (300, 365, 430, 495)
    for edge, year in ((365, "2022"), (495, "2021")):
        right(pdf, edge, 80, year)
    in_cells(pdf, [(edge, [head]) for edge, head in zip(edges, ["Gross", "Net"] * 2, strict=True)], top=94)
    statement(pdf, [("Customer lists", ["4,335", "2,689", "4,201", "3,075"])], edges=edges, currency="")
    assert rows_of(pdf, tmp_path) == [
        "Customer lists: 2022 Gross 4,335; 2022 Net 2,689; 2021 Gross 4,201; 2021 Net 3,075"
    ]


def test_a_label_that_began_above_the_first_row_is_whole(tmp_path):
    pdf = page()
    in_cells(pdf, [(360, ["2018"]), (440, ["2017"])], top=90)
    pdf.text(50, 106, "Securities purchased under")
    statement(pdf, [("agreements to resell", ["56,583", "40,436"])], edges=(360, 440), currency="")
    assert rows_of(pdf, tmp_path) == ["Securities purchased under agreements to resell: 2018 56,583; 2017 40,436"]


@pytest.mark.parametrize(("figure", "other"), [("12 450", "11 980"), ("1 204 310", "(12 450)")])
def test_thousands_parted_by_blanks_are_one_figure(tmp_path, figure, other):
    pdf = page()
    in_cells(pdf, [(360, ["2022"]), (440, ["2021"])], top=100)
    statement(pdf, [("Produits", [figure, other])], edges=(360, 440), currency="")
    assert rows_of(pdf, tmp_path) == [f"Produits: 2022 {figure}; 2021 {other}"]


@pytest.mark.parametrize(
    "rows",
    [
        [("Letter from the chair", ["3"]), ("Report of the board", ["12"]), ("Notes", ["61"])],  # a table of contents
        [("a = b + c", ["(1)"]), ("d = e", ["(2)"])],  # numbers of equations
        [("Annual report 2022", ["74"])],  # a footer
    ],
)
def test_numbers_of_pages_and_equations_are_no_rows(tmp_path, rows):
    pdf = page()
    statement(pdf, rows, edges=(520,), currency="")
    assert rows_of(pdf, tmp_path) == []


def test_numbers_along_the_axis_of_a_chart_are_no_row(tmp_path):
    pdf = page()
    pdf.text(300, 160, "Wavelength")
    for at, number in enumerate((1500, 2000, 2500, 3000)):
        pdf.text(100 + 90 * at, 140, str(number))
    assert rows_of(pdf, tmp_path) == []

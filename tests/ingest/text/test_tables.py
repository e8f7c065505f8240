import pytest

from ingest.text.tables import is_table_row, table_share

TABLE = "Consolidated Balance Sheet\n(in millions) 2018 2017\nCash 2,853 3,053\nInventories 4,366 4,034\nTotal assets 36,500 37,987"


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("Purchases of property, plant and equipment (1,577) (1,373)", True),
        ("Proceeds from sale of PP&E 262 49 58", True),
        ("margin 12.5% 13.1%", True),
        ("Net income $ 5,349 $ 4,858", True),
        ("Umsatz 1.234,5 1.100,0", True),
        ("Выручка 1 234 1 100", True),
        ("In 2018 we sold 5 of our 12 plants to a buyer from Spain for much money.", False),
        ("(in millions) 2018 2017", False),
        ("10.12 Form of award dated January 1, 2019", False),
        ("10.13 Plan as amended 2020", False),
        ("Total", False),
        ("", False),
    ],
)
def test_a_table_row_holds_two_figures_that_are_no_years_or_item_numbers(line, row):
    assert is_table_row(line) is row


@pytest.mark.parametrize(
    ("text", "expected"),
    [(TABLE, 3 / 5), ("We believe that cash is important.\nSheets of paper are recycled.", 0.0), ("", 0.0)],
)
def test_the_share_is_of_lines_with_text(text, expected):
    assert table_share(text) == pytest.approx(expected)
    assert table_share(text.replace("\n", "\n \n")) == pytest.approx(expected)

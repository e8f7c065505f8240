import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.text.sentences import is_table_row, numbers, units, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two is here! Three?", ["One.", "Two is here!", "Three?"]),
        ("Mr. Smith of Acme Inc. Paid.", ["Mr. Smith of Acme Inc. Paid."]),
        ("He said “no.” Then he left.", ["He said “no.”", "Then he left."]),
        ("A line\nthat goes on. Next.", ["A line\nthat goes on.", "Next."]),
        ("Sales 12 13\nCosts 4 5\nThat is all.", ["Sales 12 13", "Costs 4 5", "That is all."]),
        ("Title\n\nA paragraph", ["Title", "A paragraph"]),
        ("   ", []),
    ],
)
def test_text_is_cut_into_sentences_and_table_rows(text, expected):
    assert [unit.text for unit in units(text)] == expected


@given(st.text(alphabet="ab .!?\n12,A", max_size=200))
def test_every_unit_is_verbatim_and_no_word_is_lost(text):
    found = units(text)
    assert all(text[unit.start : unit.end] == unit.text for unit in found)
    assert "".join("".join(unit.text.split()) for unit in found) == "".join(text.split())


def test_a_running_header_is_left_out():
    text = "ACME Corp 10-K\nSales rose."
    assert [unit.text for unit in units(text, margins=[(0, 15)])] == ["Sales rose."]


def test_words_of_one_stem_are_equal():
    assert words("Purchases purchased purchasing PURCHASE") == ["purchas"] * 4
    assert words("companies company's") == ["company", "company"]
    assert words("What is the of and") == []


def test_numbers_lose_their_thousands_separators():
    assert numbers("$1,577 million in 2018, up 3.5%.") == {"1577", "2018", "3.5"}


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("Purchases of property, plant and equipment (1,577) (1,373)", True),
        ("In 2018 we sold 5 of our 12 plants to a buyer from Spain for much money.", False),
        ("Total", False),
    ],
)
def test_a_table_row_is_told_from_prose(line, row):
    assert is_table_row(line) is row

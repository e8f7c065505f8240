import pytest

from assistant.evaluation.amounts import numeric_match, read_amounts


@pytest.mark.parametrize(
    ("expected", "answer", "match"),
    [
        ("$1577.00", "It was $1,577 million [1].", True),
        ("$1577.00", "Capital expenditure was (1,577) in 2018 [1].", True),
        ("$1577.00", "It was 1.577 billion.", True),
        ("$1577.00", "It was $1,373 million.", False),
        ("$1577.00", "In 1577 [1577]", True),
        ("8.7%", "a share of 0.087", True),
        ("8.7%", "8.70 percent", True),
        ("8.7%", "7.8%", False),
        ("0.66", "The ratio is 0.66.", True),
        ("0.66", "The ratio is 66%.", True),
        ("-3%", "It fell by 3%.", False),
        ("-3%", "It changed by -3.0%.", True),
        ("12", "No number here [12].", False),
        ("Yes, because margins rose in 2018 to 14 percent of all sales", "Yes.", None),
        ("Consumer", "Consumer", None),
        ("$8.70 million", "8,700,000 dollars", True),
        ("24 months", "24", True),
    ],
)
def test_numbers_match_with_every_spelling_of_their_unit(expected, answer, match):
    assert numeric_match(expected, answer) is match


def test_the_tolerance_is_one_percent():
    assert numeric_match("100", "100.9")
    assert not numeric_match("100", "102")


def test_amounts_have_their_unit_and_scale():
    found = read_amounts("$1.5 billion, 12%, (3), -4, 25 bps [9]")
    assert [(a.value, a.percent, a.scale) for a in found] == [
        (1.5, False, 1e9),
        (12, True, 1),
        (-3, False, 1),
        (-4, False, 1),
        (0.25, True, 1),
    ]

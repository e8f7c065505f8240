import pytest

from assistant.evaluation.amounts import numeric_match, read_amounts

MILLIONS = "What is the capital expenditure (in USD millions)?"
BILLIONS = "What is net PP&E? Answer in USD billions."
PERCENT = "What percentage of revenue is capex?"

RIGHT = [  # expected, answer, question
    # scale: of the expected answer, of the question, written out
    ("$1577.00", "It was $1,577 million [1].", MILLIONS),
    ("$1577.00", "It was 1.577 billion.", MILLIONS),
    ("$1577.00", "It was $1,577,000 thousand.", MILLIONS),
    ("$1577.00", "It was $1,577,000,000.", MILLIONS),
    ("$1577.00", "Purchases of PP&E: 1,577 1,373 1,420", MILLIONS),
    ("$1.577 billion", "$1,577 million", ""),
    ("$8.70 million", "8,700,000 dollars", ""),
    ("$411 million", "Restructuring came to $411M.", ""),
    ("$1.8 bn", "1.8 billion dollars", ""),
    ("$1.8 bn", "$1.8B", ""),
    ("$2.5bn", "USD 2.5 billion", ""),
    ("$2.5bn", "USD2.5 billion", ""),
    ("1874", "The difference is $1,874 million.", "what was the difference in millions?"),
    # rounding as the expected answer is rounded; zeros at the end pad
    ("$8.70", "PP&E was $8.738 billion.", BILLIONS),
    ("$8.70", "PP&E was $8,738 million.", BILLIONS),
    ("$0.40", "Dividends of $389 million were paid.", BILLIONS),
    ("24.26", "The ratio is 24.2573.", ""),
    ("0.69", "0.6914 times", ""),
    ("65.4%", "an increase of 65.37%", ""),
    ("7.40", "7.4", ""),
    ("439", "$439.2 billion", "in billions, what are total investments?"),
    # percent
    ("8.7%", "8.70 percent", ""),
    ("8.7%", "a share of 0.087", ""),
    ("8.7%", "870 basis points", ""),
    ("8.7%", "870 bps", ""),
    ("8.7%", "8.7 percentage points", ""),
    ("0.66", "The ratio is 66%.", ""),
    ("57", "57% of assets", PERCENT),
    ("36%.", "36 percent", ""),
    # negative forms
    ("-3%", "It changed by -3.0%.", ""),
    ("-3%", "It changed by \u22123.0%.", ""),
    ("-3%", "It fell by 3%.", ""),
    ("3%", "It fell by 3%.", ""),
    ("-3%", "a decrease of roughly 3%", ""),
    ("-3%", "(3.0)%", ""),
    ("-14.76%", "The rate was (14.76%).", ""),
    ("-2400", "minus 2,400", ""),
    ("$(370)", "a net loss of $370", ""),
    ("-$370", "$ (370)", ""),
    ("$1577.00", "Capital expenditure was (1,577) in 2018 [1].", MILLIONS),
    # units, words, ranges, years
    ("24 months", "24", ""),
    ("24 months", "a term of 24 months", ""),
    ("8", "It takes eight minutes.", ""),
    ("Approximately 4.5 days.", "about 4.5 days", ""),
    ("5-12%", "between 5% and 12%", ""),
    ("5-12%", "from 5 to 12 percent", ""),
    ("5% to 12%", "5\u201312%", ""),
    ("50\u2013100 eV", "50 to 100 eV", ""),
    ("2010.00", "It was 2010.", ""),
    ("2010.00", "2,010 in 2018", ""),
    ("$2,018 million", "In 2018 it was $2,018 million.", ""),
]
WRONG = [
    # scale
    ("$1.577 billion", "$1.577 million", ""),
    ("$1577 million", "$1,577 thousand", ""),
    ("$1577 million", "$1,577 billion", ""),
    ("$1577.00", "It was $1,577 billion.", MILLIONS),
    ("12", "12 million", ""),
    ("$8.70", "$8.70 million", BILLIONS),
    ("$2.5bn", "$25 bn", ""),
    # rounding
    ("$1577.00", "It was $1,373 million.", MILLIONS),
    ("$1577.00", "It was $1.6 billion.", MILLIONS),
    ("24.26", "24.3", ""),
    ("100", "100.9", ""),
    ("$8.70", "$8.2 billion", BILLIONS),
    ("$2.00", "$1.60", ""),
    ("65.4%", "65%", ""),
    # percent
    ("8.7%", "7.8%", ""),
    ("8.7%", "8.7 million", ""),
    ("8.7%", "$8.7", ""),
    ("8.7%", "8.7", ""),
    ("24.26", "24.26%", ""),
    ("0.66", "0.66%", ""),
    # signs and ranges
    ("3%", "It changed by -3%.", ""),
    ("-3%", "It rose by 3%.", ""),
    ("-12%", "5-12%", ""),
    ("5%", "5-12%", ""),
    ("5-12%", "5%", ""),
    ("5-12%", "5-13%", ""),
    # what is no amount
    ("2010.00", "In fiscal 2018 it was low.", ""),
    ("2018", "It grew in 2018 and 2019.", ""),
    ("3 million", "3M makes tape", ""),
    ("2", "see Note 2", ""),
    ("12", "No number here [12].", ""),
    ("10", "the Form 10-K", ""),
    ("4", "in Q4", ""),
    ("31", "as of December 31, 2018", ""),
    ("19", "due to COVID-19", ""),
    ("20", "the 20th largest", ""),
    # other units
    ("24 months", "24 days", ""),
    ("$5", "\u20ac5", ""),
    ("3,474 kilometres", "3,474 miles", ""),
]


@pytest.mark.parametrize(("expected", "answer", "question"), RIGHT)
def test_an_answer_with_the_value_unit_scale_and_sign_is_right(expected, answer, question):
    assert numeric_match(expected, answer, question) is True


@pytest.mark.parametrize(("expected", "answer", "question"), WRONG)
def test_an_answer_with_another_value_unit_scale_or_sign_is_wrong(expected, answer, question):
    assert numeric_match(expected, answer, question) is False


def test_the_golden_table_has_at_least_eighty_pairs():
    assert len({*RIGHT, *WRONG}) == len(RIGHT) + len(WRONG) >= 80


LISTED = "Cash was 1 billion. In 2018 it was $1,577 million. Debt was 3 billion. It rose to 4 billion."
QUOTED = 'Capital expenditure was $1,373 million. The page says: "purchases of PP&E were $1,577 million in that year".'


@pytest.mark.parametrize(
    ("expected", "answer", "right"),
    [
        ("$1,577 million", "In 2018, capital expenditure was $1,577 million. In 2017 it was $1,373 million.", True),
        (
            "$204 million",
            "It was $1,577 million in 2018.\nIt was $1,373 million in 2017.\nSo it rose by $204 million.",
            True,
        ),
        ("$1,577 million", LISTED, False),
        ("$1,577 million", "- $1,577 million\n- $1,373 million\n- $1,420 million\n", True),
        ("$1,373 million", "- $1,577 million\n- $1,373 million\n- $1,420 million\n", False),
        ("1577", "1373 1420 1577 1208 990 875 841", False),
        ("$1,577 million", QUOTED, False),
        ("$1,373 million", QUOTED, True),
        ("$1,577 million", 'As stated: "purchases of PP&E were $1,577 million in that year".', True),
        ("$1,577 million", "> purchases were $1,577 million\n\nIt spent $1,373 million.", False),
        ("$1bn, $3bn, $4bn", LISTED, True),
    ],
)
def test_an_amount_counts_where_the_answer_claims_it_and_not_anywhere_in_it(expected, answer, right):
    assert numeric_match(expected, answer) is right


@pytest.mark.parametrize(
    "expected",
    [
        "Yes, because margins rose in 2018 to 14 percent of all sales",
        "Consumer",
        "November 16, 1907",
        "1.1 × 10^{51} erg",
        "",
    ],
)
def test_a_statement_a_date_and_a_formula_are_not_compared_as_amounts(expected):
    assert numeric_match(expected, "1907 and 14 percent") is None


def test_amounts_have_their_unit_scale_and_decimals():
    found = read_amounts("$1.50 billion, 12%, (3), -4, 25 bps [9], €7M, 3M")
    assert [(a.value, a.decimals, a.unit, a.scale, sorted(a.signs)) for a in found] == [
        (1.5, 1, "$", 1e9, [1]),
        (12, 0, "%", None, [1]),
        (3, 0, "", None, [-1, 1]),
        (4, 0, "", None, [-1]),
        (0.25, 2, "%", None, [1]),
        (7, 0, "€", 1e6, [1]),
    ]

import pytest

from assistant.answering.figures import read_quantities, same_date, same_figure, stated_scales

MILLIONS = frozenset({1e6})


def figure(text):
    (found,) = read_quantities(text).figures
    return found


@pytest.mark.parametrize(
    ("claimed", "given", "scales"),
    [
        ("1577", "(1,577)", MILLIONS),
        ("$1,577 million", "1,577", MILLIONS),
        ("$1.577 billion", "1,577", MILLIONS),
        ("about $1.6 billion", "1,577", MILLIONS),
        ("1.577 Mio. €", "1,577", MILLIONS),
        ("1 577 millions", "1,577", MILLIONS),
        ("12 percent", "12 %", frozenset()),
        ("12,5 Prozent", "12.5%", frozenset()),
        ("٤١١ مليون", "$411 million", frozenset()),
        ("4.11亿美元", "$411 million", frozenset()),
        ("411 млн долларов", "$411 million", frozenset()),
    ],
)
def test_one_amount_in_another_form_is_the_same(claimed, given, scales):
    assert same_figure(figure(claimed), figure(given), scales)


@pytest.mark.parametrize(
    ("claimed", "given", "scales"),
    [
        ("1,578", "1,577", MILLIONS),
        ("$1,577 thousand", "1,577", MILLIONS),
        ("$1.577 million", "1,577", MILLIONS),
        ("2 billion", "1,577", MILLIONS),  # one digit tells too little to be a rounding
        ("12 %", "12", frozenset()),
        ("$12", "12 %", frozenset()),
        ("$12", "€12", frozenset()),
    ],
)
def test_another_value_scale_or_unit_is_not(claimed, given, scales):
    assert not same_figure(figure(claimed), figure(given), scales)


@pytest.mark.parametrize(
    "text",
    ["December 31, 2018", "31 December 2018", "31st of December 2018", "31. Dezember 2018", "31 décembre 2018", "31 de diciembre de 2018",
     "31 декабря 2018", "2018年12月31日", "2018-12-31", "31.12.2018"],
)  # fmt: skip
def test_a_date_is_read_in_many_forms_and_is_no_figure(text):
    found = read_quantities(f"On {text} it ended.")
    assert [(date.year, date.month, date.day) for date in found.dates] == [(2018, 12, 31)]
    assert found.figures == ()
    assert same_date(found.dates[0], read_quantities("Years ended December 31 | 2018 2017"))
    assert not same_date(found.dates[0], read_quantities("December 30, 2018"))


def test_a_table_states_its_scale():
    assert stated_scales("(in millions, except per share) and (Dollars in thousands)") == {1e6, 1e3}
    assert stated_scales("in Mio. EUR") == MILLIONS


def test_a_code_is_no_figure():
    assert [found.values for found in read_quantities("A320 and Q4, item 10").figures] == [(10.0,)]

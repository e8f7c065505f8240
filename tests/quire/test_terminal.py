import math

import pytest

from quire import pluralize, print_json


@pytest.mark.parametrize(
    ("number", "width", "words"),
    [(0, 0, "0 pages"), (1, 0, "1 page"), (2, 0, "2 pages"), (1, 5, "    1 page "), (12, 5, "   12 pages")],
)
def test_a_noun_is_singular_after_one_alone_and_columns_stay_even(number: int, width: int, words: str) -> None:
    assert pluralize(number, "page", width=width) == words


def test_json_has_null_where_a_number_is_not_finite(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": math.nan, "b": [1.5, -math.inf, {"c": (math.inf, "x")}], "d": True})
    assert capsys.readouterr().out == '{"a": null, "b": [1.5, null, {"c": [null, "x"]}], "d": true}\n'

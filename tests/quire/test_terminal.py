import pytest

from quire import pluralize


@pytest.mark.parametrize(
    ("number", "width", "words"),
    [(0, 0, "0 pages"), (1, 0, "1 page"), (2, 0, "2 pages"), (1, 5, "    1 page "), (12, 5, "   12 pages")],
)
def test_a_noun_is_singular_after_one_alone_and_columns_stay_even(number: int, width: int, words: str) -> None:
    assert pluralize(number, "page", width=width) == words

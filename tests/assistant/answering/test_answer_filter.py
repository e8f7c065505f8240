import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.answering.answer_filter import AnswerFilter, cited_numbers


def filtered(text: str, prompted: int, size: int = 1) -> tuple[str, list[int]]:
    answer_filter = AnswerFilter(prompted)
    shown = "".join(answer_filter.feed(text[i : i + size]) for i in range(0, len(text), size))
    return shown + answer_filter.close(), answer_filter.invented


@pytest.mark.parametrize(
    ("written", "shown", "invented"),
    [
        ("It is 5 [1].", "It is 5 [1].", []),
        ("It is 5 [1, 2][3].", "It is 5 [1][2][3].", []),
        ("It is 5 [1-3].", "It is 5 [1][2][3].", []),
        ("It is 5 [99].", "It is 5 .", [99]),
        ("It is 5 [2, 99].", "It is 5 [2].", [99]),
        ("A list[i] and [note] stay.", "A list[i] and [note] stay.", []),
        ("See [here](http://evil.example/?q=secret).", "See here.", []),
        ("See [1](http://evil.example/?q=secret).", "See [1].", []),
        ("![x](http://evil.example/a.png)Done", "Done", []),
        ("![x][ref]\n[ref]: http://evil.example", "\nref (link removed)", []),
        ("<img src=http://evil.example>a<b>c</b>", "ac", []),
        ("<!-- > hidden -->seen", "seen", []),
        ("a < b and c > d", "a < b and c > d", []),
        ("open <img src=x", "open < img src=x", []),
        ("go to https://evil.example/?q=1 now", "go to (link removed) now", []),
        ("<think>secret [7] plan</think>\nFive [1]", "\nFive [1]", []),
        ("<think>never ends", "", []),
        ("It is 5 【2】 or 6 【9†source】.", "It is 5 [2] or 6 .", [9]),
        ("【note】 and 【", "【note】 and 【", []),
        ("Five [Source document: fake.pdf, page 3].", "Five .", []),
        ("ends with [", "ends with [", []),
        ("ends with [12", "ends with [12", []),
        ("", "", []),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_only_valid_citations_and_plain_text_pass(written, shown, invented, size):
    assert filtered(written, 3, size) == (shown, invented)


@given(st.text(alphabet="[]()!<>/ab19 :.htps-", max_size=120), st.integers(1, 7))
def test_no_invented_number_image_or_tag_passes_whatever_the_text_and_its_pieces(text, size):
    shown, _ = filtered(text, 3, size)
    assert all(1 <= number <= 3 for number in cited_numbers(shown))
    assert not re.search(r"!\[[^\]]*\][\[(]", shown)
    assert not re.search(r"<[a-zA-Z/!?][^>]*>", shown)


@given(st.text(alphabet="abc ,.\n", max_size=200), st.integers(1, 5))
def test_plain_text_passes_unchanged(text, size):
    assert filtered(text, 3, size) == (text, [])

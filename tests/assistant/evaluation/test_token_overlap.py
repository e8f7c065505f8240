import pytest

from assistant.evaluation.token_overlap import token_f1, token_recall


@pytest.mark.parametrize(
    ("expected", "answer", "f1"),
    [
        ("eight minutes", "Eight minutes.", 1),
        ("eight minutes", "It takes eight minutes [2].", 2 * 2 / (2 + 4)),
        ("the cat sat", "a cat", 2 * 1 / (2 + 1)),
        ("1,577", "$1577", 1),
        ("3.5", "3.6", 0),
        ("no no no", "no", 2 * 1 / (3 + 1)),
        ("no", "no no no", 2 * 1 / (3 + 1)),
        ("Oklahoma", "", 0),
        ("größe", "Größe", 1),
    ],
)
def test_f1_counts_shared_tokens_of_both_texts(expected, answer, f1):
    assert token_f1(expected, answer) == pytest.approx(f1)


def test_an_expected_answer_without_tokens_has_no_f1():
    assert token_f1("", "anything") is None
    assert token_f1("the", "the") is None


def test_recall_counts_the_expected_words_and_not_the_others():
    assert token_recall("The 1,577 purchases", "Purchases of equipment (1577), and more of that") == 1.0
    assert token_recall("two days, two nights", "two days") == 0.5

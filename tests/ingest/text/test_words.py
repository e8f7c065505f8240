import threading

import pytest

from ingest.text.words import MAX_QUERY_TERMS, MAX_TERM_BYTES, content_terms, name_words, numbers, query_terms, terms


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("liabilities", "liability"),
        ("subsidiaries", "subsidiary"),
        ("companies", "company"),
        ("Purchases", "PURCHASED"),
        ("ratios", "ratio"),
        ("Большой", "большой"),
        ("GRÖSSE", "grösse"),
    ],
)
def test_forms_of_one_word_are_one_term(one, other):
    assert terms(one) == terms(other)


def test_look_alike_characters_and_ligatures_are_the_plain_ones():
    assert terms("ＡＸ４７１１ ﬁle 𝐫𝐞𝐧𝐭") == terms("AX4711 file rent")


def test_a_raised_digit_is_no_part_of_its_number():
    assert terms("$320¹ and 10⁶") == ["320", "1", "and", "10", "6"]
    assert terms("1,204ᵃ ships")[:3] == ["1", "204", "a"]
    assert numbers("4,567² crowns") == {"4567", "2"}


def test_different_words_stay_different_terms():
    assert len(set(terms("policy police operation opinion"))) == 4


def test_terms_stand_in_the_order_of_the_text_as_often_as_it_says_them():
    assert terms("Cash flow, cash") == ["cash", "flow", "cash"]


def test_words_of_any_script_are_terms():
    assert terms("Выручка выросла на 5 процентов") == ["выручка", "выросла", "на", "5", "процентов"]
    assert terms("売上高 2022") == ["売上高", "2022"]
    assert terms("Übergröße naïve") == ["übergröß", "naïv"]


def test_a_run_of_letters_that_is_too_long_is_no_term():
    assert terms("a" * (MAX_TERM_BYTES + 1) + " tail") == ["tail"]


def test_half_a_surrogate_pair_ends_no_search():
    assert terms("tape \ud83d rolls") == ["tape", "roll"]


def test_stop_words_are_no_content_and_each_term_comes_once():
    assert content_terms("What is the ratio of these ratios?") == ["ratio"]
    assert content_terms("What is it, and why don't they?") == []


def test_what_a_possessive_leaves_behind_is_no_content():
    assert content_terms("3M's and the company’s margin") == ["3m", "compani", "margin"]


def test_a_query_of_stop_words_alone_is_searched_by_them():
    assert query_terms("to be or not to be") == ["to", "be", "or", "not"]
    assert query_terms("the margin") == ["margin"]


def test_a_query_that_is_a_whole_page_is_cut():
    assert query_terms(" ".join(f"w{i}" for i in range(200))) == [f"w{i}" for i in range(MAX_QUERY_TERMS)]


def test_numbers_lose_their_thousands_separators():
    assert numbers("$1,577 million in 2018, up 3.5%.") == {"1577", "2018", "3.5"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("3M_2018_10K.pdf", "3M 2018 10K"),
        ("annualReport-2020.PDF", "annual Report 2020"),
        ("upload:a b.pdf", "a b"),
        ("https://example.org/files/Annual%20Report_2020.pdf?x=1", "Annual Report 2020"),
    ],
)
def test_the_words_of_a_name_are_those_of_its_last_part(name, words):
    assert name_words(name) == words


def test_several_threads_may_ask_at_once():
    found = []
    asking = [threading.Thread(target=lambda: found.append(terms("Liabilities of companies " * 500))) for _ in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert found == [["liabil", "of", "compani"] * 500] * 8

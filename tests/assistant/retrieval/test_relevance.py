import pytest

from assistant.retrieval.relevance import COSINE, MISSING_NAMES, QueryTerms, names_in, query_terms, relevance


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("What is the FY2018 capital expenditure amount (in USD millions) for 3M?", ["2018", "usd", "3m"]),
        ("How long does the warranty last?", []),
        ("AMD's margin? Compare it with Intel.", ["amd", "intel"]),
        ("what did McDonald's sell in Q3 2020", ["mcdonald", "q3", "2020"]),
        ("Who is J&J?", ["j&j"]),
        ("Was kostet die Übergröße?", ["übergröße"]),
        ("Кто владеет Газпромом?", ["газпромом"]),
        ("", []),
    ],
)
def test_names_are_capitals_inside_a_sentence_codes_and_numbers(question, names):
    assert names_in(question) == names


@pytest.mark.parametrize(
    ("names", "text", "document", "expected"),
    [
        ((), "anything", "a.pdf", 1.0),
        (("3m",), "3M sold tape.", "a.pdf", 1.0),
        (("3m",), "sold tape", "3M_2018_10K.pdf", 1.0),
        (("express",), "cards", "AMERICANEXPRESS_2022.pdf", 1.0),
        (("3m",), "Nike sold shoes.", "NIKE.pdf", 1 - MISSING_NAMES),
        (("3m", "2018"), "in 2018", "NIKE.pdf", 1 - MISSING_NAMES / 2),
    ],
)
def test_what_is_named_and_missing_lessens_the_score(names, text, document, expected):
    assert relevance(QueryTerms((), names), 0.6, text, document) == pytest.approx(COSINE * 0.6 * expected)


def test_a_page_with_all_words_of_the_question_counts_more_than_one_with_none():
    query = query_terms("What is the first loss?")
    with_words = relevance(query, 0.35, "The first loss is ln 2.", "a.pdf")
    assert with_words == pytest.approx(COSINE * 0.35 + 1 - COSINE)
    assert relevance(query, 0.35, "Nothing of it.", "a.pdf") == pytest.approx(COSINE * 0.35)


def test_a_score_lies_between_0_and_1():
    query = query_terms("What is the first loss?")
    assert relevance(query, 1.0, "the first loss", "a.pdf") == pytest.approx(1.0)
    assert relevance(query, -0.4, "", "a.pdf") == 0.0

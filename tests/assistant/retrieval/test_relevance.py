import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.retrieval.features import PageEvidence
from assistant.retrieval.relevance import Signals, names_in, page_probabilities, page_probability, signals

QUESTION = "How long does the warranty of the Pico 7 pump last?"
ANSWER = "The warranty of the Pico 7 pump lasts two years."


def page(text: str, document: str = "manual.pdf", cosine: float = 0.6) -> PageEvidence:
    return PageEvidence(document, (text,), "", (cosine,))


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("What is the FY2018 capital expenditure amount (in USD millions) for 3M?", ["2018", "usd", "3m"]),
        ("How long does the warranty last?", []),
        ("AMD's margin? Compare it with Intel.", ["amd", "intel"]),
        ("what did McDonald's sell in Q3 2020", ["mcdonald", "q3", "2020"]),
        ("Who is J&J?", ["j&j"]),
        ("Was kostet die Übergröße?", []),
        ("Was kostet der AX 300?", ["ax", "300"]),
        ("Кто владеет Газпромом?", ["газпромом"]),
        ("How do I clean it, and may I use soap?", []),
        ("", []),
    ],
)
def test_names_are_capitals_inside_a_sentence_codes_and_numbers(question, names):
    assert names_in(question) == names


@pytest.mark.parametrize(
    ("question", "text", "document", "missing"),
    [
        ("Did it sell tape?", "anything", "a.pdf", 0.0),
        ("Did 3M sell tape?", "3M sold tape.", "a.pdf", 0.0),
        ("Did 3M sell tape?", "sold tape", "3M_2018_10K.pdf", 0.0),
        ("Has American Express cards?", "cards", "AMERICANEXPRESS_2022.pdf", 0.0),
        ("Did 3M sell tape?", "Nike sold shoes.", "NIKE.pdf", 1.0),
        ("Did 3M sell tape in 2018?", "in 2018", "NIKE.pdf", 0.5),
    ],
)
def test_a_name_is_missing_if_neither_the_page_nor_the_name_of_its_document_holds_it(question, text, document, missing):
    assert signals(question, [page(text, document)], [0.0]).missing == missing


def test_a_page_with_the_words_and_the_name_is_more_probable_than_one_with_half_of_them_and_one_of_another_name():
    half, other = "The warranty lasts two years.", "The warranty of the Nano 9 pump lasts two years."
    of_whole, of_half, of_other = (
        page_probabilities(QUESTION, [page(text)], [14.0])[0] for text in (ANSWER, half, other)
    )
    assert of_whole > 2 * of_other
    assert of_other > of_half


def test_a_page_is_less_probable_than_those_ranked_before_it():
    pages = [page(ANSWER), page("The pump."), page("Nothing.")]
    probabilities = page_probabilities(QUESTION, pages, [12.0, 11.0, 7.0])
    assert probabilities == sorted(probabilities, reverse=True)
    assert probabilities[2] < probabilities[0] / 4


def test_pages_that_are_found_too_do_not_change_the_probability_of_the_best():
    alone = page_probabilities(QUESTION, [page(ANSWER)], [12.0])
    assert page_probabilities(QUESTION, [page(ANSWER), page("x", cosine=0.1)], [12.0, 3.0])[0] == alone[0]


def test_a_question_without_words_in_common_is_judged_by_its_cosine():
    question = "Wie lange gilt die Garantie?"  # an embedder of several languages finds its page
    near, far = (page_probabilities(question, [page(ANSWER, cosine=cosine)], [9.0])[0] for cosine in (0.85, 0.3))
    assert near > 2 * far


@given(st.floats(0, 1), st.floats(0, 1), st.floats(-5, 40), st.floats(-1, 1), st.floats(-60, 0))
def test_a_probability_lies_between_0_and_1(coverage, missing, ranking, cosine, behind):
    assert 0 <= page_probability(Signals(coverage, missing, ranking, cosine), behind) <= 1


def test_a_page_about_something_else_does_not_lend_its_year():
    question = "What was the revenue in 2019?"
    report = page("Revenue was 1,204 in 2023 and 1,115 in 2022.", "report.pdf")
    paper = page("We follow the method of 2019.", "paper.pdf")
    assert signals(question, [report, paper], [9.0, 3.0]).missing == signals(question, [report], [9.0]).missing == 1.0


def test_no_pages_have_no_probabilities():
    assert page_probabilities(QUESTION, [], []) == []

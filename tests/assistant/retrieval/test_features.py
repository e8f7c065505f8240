import pytest

from assistant.retrieval.features import (
    FEATURES,
    PageEvidence,
    asks_for_amount,
    coverage,
    document_shares,
    named_terms,
    page_features,
    question_terms,
)


def page(*passages: str, document: str = "a.pdf", heading: str = "") -> PageEvidence:
    return PageEvidence(document, passages, heading, (0.5,))


def feature(name: str, question: str, *pages: PageEvidence) -> list[float]:
    features, _ = page_features(question, pages)
    found: list[float] = features[:, FEATURES.index(name)].round(3).tolist()
    return found


def test_every_feature_is_between_0_and_1() -> None:
    pages = [
        page("Rent is 900 euros a month.", "Rent is due on the first."),
        page(""),
        page("Pets: no.\nHeating: yes."),
    ]
    features, doubt = page_features("How much rent is due a month?", pages)
    assert features.shape == (3, len(FEATURES))
    assert features.min() >= 0.0
    assert features.max() <= 1.0
    assert 0.0 <= doubt <= 1.0


def test_there_is_no_doubt_where_one_passage_holds_all_terms_and_full_doubt_where_none_holds_half() -> None:
    question = "When is the monthly rent of the flat due?"
    assert page_features(question, [page("The monthly rent of the flat is due on the first.")])[1] == 0.0
    assert page_features(question, [page("The monthly report.")])[1] == 1.0
    assert page_features(question, [page("The monthly rent", "of the flat is due")])[1] > 0.0  # of two passages
    assert page_features(question, [])[1] == 1.0


def test_the_best_passage_of_all_pages_has_one_for_words() -> None:
    shares = feature("words", "monthly rent", page("The monthly rent is 900."), page("Rent."), page("Pets."))
    assert shares[0] == 1.0
    assert 1.0 > shares[1] > shares[2] == 0.0


def test_neighbors_across_a_stop_word_are_no_pair() -> None:
    question = "capital of France, monthly rent"
    assert feature("pairs", question, page("A monthly rent."), page("The capital France.")) == [0.5, 0.0]
    assert feature("pairs", "rent", page("A monthly rent.")) == [0.0]


def test_a_term_of_the_documents_name_counts_as_said_on_its_pages() -> None:
    pages = [page("Cards.", document="AMERICANEXPRESS_2022.pdf"), page("Cards.", document="Visa_2022.pdf")]
    shares = feature("words", "How many cards of American Express?", *pages)
    assert shares[0] == 1.0 > shares[1]
    assert named_terms("What did American Express earn in FY2022?", "AMERICANEXPRESS_2022.pdf") == {
        "american",
        "express",
        "2022",
    }
    assert named_terms("What is the age of management?", "Management_Report.pdf") == {"manag"}


def test_words_are_stemmed_once_each_and_fiscal_years_are_years() -> None:
    assert question_terms("What are the ratios, and the ratio of FY2022 and FY21?") == ["ratio", "2022", "2021"]
    assert question_terms("How long does the warranty last?") == ["warranti", "last"]
    assert question_terms("Wie hoch ist die Kaution?") == ["kaution"]
    assert question_terms("How long?") == ["long"]


@pytest.mark.parametrize(
    ("question", "amount"),
    [
        ("How much did it cost?", True),
        ("What is the quick ratio?", True),
        ("Did margins improve?", False),
        ("What was the gross margin?", True),
        ("Who audits the company?", False),
        ("Is 5% right?", True),
    ],
)
def test_an_amount_is_told_from_other_answers(question: str, amount: bool) -> None:
    assert asks_for_amount(question) is amount


def test_coverage_is_the_share_of_the_questions_terms_that_were_found() -> None:
    assert coverage(["cash", "flow"], {"cash", "is", "king"}) == 0.5
    assert coverage(["cash", "flow"], {"cash", "flow"}) == 1.0
    assert coverage([], {"cash"}) == 0.0


def test_a_word_that_all_names_share_says_little() -> None:
    shares = document_shares("the 10K of Boeing", ["BOEING_10K.pdf", "AMCOR_10K.pdf", "NIKE_10K.pdf"])
    assert shares["BOEING_10K.pdf"] > 0.8
    assert shares["AMCOR_10K.pdf"] < 0.3


def test_a_name_is_matched_where_its_letters_and_digits_stand_apart() -> None:
    shares = document_shares("What did 3M earn in Q2 of FY2023?", ["3M_2023Q2_10Q.pdf", "BOEING_2022_10K.pdf"])
    assert shares["3M_2023Q2_10Q.pdf"] > 0.5 > shares["BOEING_2022_10K.pdf"]


def test_a_name_in_another_script_is_matched() -> None:
    assert document_shares("Что пишет Газпром в отчёте?", ["Газпром_отчёт.pdf"])["Газпром_отчёт.pdf"] > 0.0

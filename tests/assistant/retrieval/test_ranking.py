import pytest

from assistant.retrieval.ranking import (
    PageEvidence,
    asks_for_amount,
    coverage,
    document_shares,
    question_terms,
    score_pages,
)

TABLE = "Consolidated Balance Sheet\n(in millions) 2018 2017\nCash 2,853 3,053\nInventories 4,366 4,034\nTotal assets 36,500 37,987"
PROSE = "We believe that cash is important.\nOur balance of work and life is good.\nSheets of paper are recycled."


def page(text: str, *, document: str = "a.pdf", heading: str = "", cosines: tuple[float, ...] = (0.5,)) -> PageEvidence:
    return PageEvidence(document, text, heading, cosines)


def first(question: str, *pages: PageEvidence) -> int:
    scores = score_pages(question, pages)
    return scores.index(max(scores))


def test_a_table_is_preferred_where_an_amount_is_asked() -> None:
    assert first("How much inventories were there in 2018?", page(PROSE), page(TABLE)) == 1


def test_the_cosine_decides_where_the_words_are_alike() -> None:
    assert first("Who recycles paper?", page(PROSE), page(PROSE, cosines=(0.6,))) == 1


def test_a_second_good_chunk_counts() -> None:
    assert first("Who recycles paper?", page(PROSE, cosines=(0.5, 0.1)), page(PROSE, cosines=(0.5, 0.45))) == 1


def test_a_heading_counts_more_than_the_same_words_further_down() -> None:
    below = "Nothing to do with it. " * 20 + "balance sheet"
    above = "balance sheet\n" + "Nothing to do with it. " * 20
    assert first("Where is the balance sheet?", page(below), page(above)) == 1


def test_an_outline_title_is_a_heading_too() -> None:
    assert first("Where is the balance sheet?", page("figures"), page("figures", heading="Balance sheets")) == 1


def test_the_document_that_the_question_names_comes_first() -> None:
    pages = [page(PROSE, document="BOEING_2022_10K.pdf"), page(PROSE, document="ACTIVISIONBLIZZARD_2019_10K.pdf")]
    assert first("What did Activision Blizzard recycle in FY2019?", *pages) == 1


def test_no_page_has_no_score() -> None:
    assert score_pages("anything", []) == []


def test_words_are_stemmed_once_each_and_fiscal_years_are_years() -> None:
    assert question_terms("What are the ratios, and the ratio of FY2022 and FY21?") == ["ratio", "2022", "2021"]


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

from assistant.retrieval.features import PageEvidence
from assistant.retrieval.ranking import score_pages

TABLE = "Consolidated Balance Sheet\n(in millions) 2018 2017\nCash 2,853 3,053\nInventories 4,366 4,034\nTotal assets 36,500 37,987"
PROSE = "We believe that cash is important.\nOur balance of work and life is good.\nSheets of paper are recycled."
FILLER = "Nothing to do with it. " * 20


def page(
    *passages: str, document: str = "a.pdf", heading: str = "", cosines: tuple[float, ...] = (0.5,)
) -> PageEvidence:
    return PageEvidence(document, passages, heading, cosines)


def first(question: str, *pages: PageEvidence) -> int:
    scores = score_pages(question, pages)
    return scores.index(max(scores))


def test_a_table_is_preferred_where_an_amount_is_asked_in_words_that_no_page_has() -> None:
    assert first("What was the average growth of stocks held for sale?", page(PROSE), page(TABLE)) == 1


def test_a_page_that_says_the_words_is_preferred_over_a_table_that_does_not() -> None:
    says = page("Employees get fifteen days of paid vacation a year, and more after five years.")
    assert first("How many days of paid vacation do employees get?", page(TABLE), says) == 1


def test_the_cosine_decides_where_the_words_are_alike() -> None:
    assert first("Who recycles paper?", page(PROSE), page(PROSE, cosines=(0.6,))) == 1


def test_a_second_good_chunk_counts_where_the_words_are_on_no_page() -> None:
    pages = [page(PROSE, cosines=(0.5, 0.1)), page(PROSE, cosines=(0.5, 0.45))]
    assert first("Which foundry casts propellers?", *pages) == 1


def test_a_heading_counts_more_than_the_same_words_further_down_in_doubt() -> None:
    question = "Which balance sheet ratio deteriorated fastest during restructuring?"
    assert first(question, page(FILLER + "balance sheet"), page("balance sheet\n" + FILLER)) == 1


def test_an_outline_title_is_a_heading_too() -> None:
    question = "Which balance sheet ratio deteriorated fastest during restructuring?"
    assert first(question, page("figures"), page("figures", heading="figures | Balance sheets")) == 1


def test_words_side_by_side_count_more_than_the_same_words_apart() -> None:
    apart = page("The period of the lease is a year. Notice is given in writing.")
    together = page("The notice period is a year. The lease is given in writing.")
    assert first("What is the notice period?", apart, together) == 1


def test_the_document_that_the_question_names_comes_first() -> None:
    pages = [page(PROSE, document="BOEING_2022_10K.pdf"), page(PROSE, document="ACTIVISIONBLIZZARD_2019_10K.pdf")]
    assert first("What did Activision Blizzard recycle in FY2019?", *pages) == 1


def test_a_page_that_repeats_its_documents_name_is_not_preferred_for_it() -> None:
    repeats = "Acme Widgets and Acme Widgets' people: Acme Widgets. Acme Widgets is Acme Widgets."
    pages = [page(repeats, document="AcmeWidgets_2020.pdf"), page(PROSE, document="AcmeWidgets_2020.pdf")]
    assert first("Does Acme Widgets recycle sheets of paper?", *pages) == 1


def test_no_page_has_no_score() -> None:
    assert score_pages("anything", []) == []

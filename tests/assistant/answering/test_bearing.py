import pytest

from assistant.answering.bearing import Bearing, wanted_kind
from assistant.answering.statements import read_statements
from tests.assistant.helpers import passage


def best(question: str, text: str) -> str:
    statements = read_statements(passage(text))
    scores = Bearing(question, statements).scores
    return statements[scores.index(max(scores))].text


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("When was it founded?", "date"),
        ("Assume that you are an analyst. In which year was it founded?", "date"),
        ("What should you do when you move?", ""),
        ("How long is the notice period?", "amount"),
        ("What was the total revenue?", "amount"),
        ("Wie viele Tage Urlaub gibt es?", "amount"),
        ("Who may sign?", "name"),
        ("Où se trouve le siège ?", "name"),
        ("Qu'est-ce que la franchise ?", "definition"),
        ("What is a deductible?", "definition"),
        ("How are claims paid?", ""),
    ],
)
def test_a_question_says_what_kind_of_answer_it_wants(question, kind):
    assert wanted_kind(question) == kind


def test_a_definition_has_what_is_asked_in_front_of_its_verb():
    text = "It is important that the deductible is met each year. A deductible is the amount that you pay first."
    text = "This means that you must meet your deductible. " + text.partition(". ")[2]
    assert best("What is a deductible?", text).startswith("A deductible is the amount")


def test_the_number_of_a_footnote_is_no_amount():
    text = "People live in Oklahoma and its many cities [50][51]. About 4 million people live in Oklahoma itself."
    assert best("How many people live in Oklahoma?", text).startswith("About 4 million")


def test_a_row_whose_label_is_what_is_asked_comes_before_a_longer_label():
    text = "Total revenues from contracts with customers 17,241 16,080\nTotal revenues 66,608 62,286"
    assert best("What were total revenues?", text) == "Total revenues 66,608 62,286"


def test_an_entry_of_a_list_of_references_comes_after_prose():
    text = "Doe et al. Tidal eruptions of old stars, arXiv 2101. We find that tidal eruptions come from stars."
    assert best("What do tidal eruptions of stars come from?", text).startswith("We find")


def test_a_question_in_the_text_is_not_its_own_answer():
    text = "Are emergency services covered? Emergency services that are needed are always covered."
    assert best("Are emergency services covered?", text).startswith("Emergency services")

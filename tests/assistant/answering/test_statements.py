from dataclasses import replace

from assistant.answering.statements import MAX_STATEMENT, read_statements
from tests.assistant.helpers import passage

WIDE = "A line of the text of this page that runs from its left edge to its right edge"


def texts(text: str) -> list[str]:
    return [statement.text for statement in read_statements(passage(text))]


def test_a_heading_is_no_part_of_the_sentence_under_it_and_is_known_there():
    text = f"Allowed Amount\nIMPORTANT PLAN INFORMATION\n{WIDE}.\nThe end of it."
    one, two, sentence, *_ = read_statements(passage(text))
    assert (one.text, two.text) == ("Allowed Amount", "IMPORTANT PLAN INFORMATION")
    assert one.is_fragment and two.is_fragment and not sentence.is_fragment
    assert (sentence.text, sentence.heading) == (f"{WIDE}.", "Allowed Amount IMPORTANT PLAN INFORMATION")


def test_a_full_line_before_a_capital_letter_goes_on():
    assert texts(f"{WIDE}\nJohn continues.") == [f"{WIDE}\nJohn continues."]


def test_a_question_is_the_heading_of_its_answer():
    question, answer = read_statements(passage("Is it covered? Yes, all of it is covered by the plan."))
    assert question.is_fragment
    assert answer.heading == "Is it covered?"


def test_a_line_of_prose_with_two_figures_goes_on_in_the_next_line():
    text = "At the end of 2018 we employed 93,516 people and 37,412 in the States\nalone.\nSales 12 13"
    assert texts(text) == [text.rpartition("\n")[0], "Sales 12 13"]


def test_rows_stay_apart():
    assert [s.is_row for s in read_statements(passage("Sales 12 13\nCosts 4 5"))] == [True, True]


def test_a_sentence_without_end_is_cut_at_lines():
    text = "\n".join(f"{n} {WIDE.lower()}" for n in "abcdefgh")
    found = read_statements(passage(text))
    assert len(found) > 2
    assert all(len(s.text) <= MAX_STATEMENT and text[s.start : s.end] == s.text for s in found)
    assert all(s.text[1] == " " for s in found)


def test_running_lines_belong_to_no_statement():
    text = "One thing is said here.\nPage header 3\nAnother thing is said."
    found = read_statements(replace(passage(text), margins=((24, 37),)))
    assert [s.text for s in found] == ["One thing is said here.", "Another thing is said."]

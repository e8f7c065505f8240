import subprocess
import sys
from dataclasses import replace

import pytest

from assistant.answering.excerpts import MAX_QUOTE_CHARACTERS, format_quote, select_quotes
from ingest import TableRow
from ingest.pdf.tables import Cell
from tests.assistant.helpers import CAPEX, MOON, MOON_QUESTION, passage

LONG = " ".join(f"Sentence number {i} speaks of nothing in particular." for i in range(30))


def test_the_quote_is_verbatim_and_holds_the_words_of_the_question():
    text = f"{LONG} The warranty lasts 24 months. {LONG}"
    (quote,) = select_quotes("How long does the warranty last?", [passage(text, start=100, page=4)])
    assert "The warranty lasts 24 months." in quote.quote
    assert text[quote.start - 100 : quote.end - 100] == quote.quote
    assert len(quote.quote) <= MAX_QUOTE_CHARACTERS
    assert quote.page == 4


def test_one_quote_a_passage_the_one_that_answers_first_then_by_rank():
    passages = [passage(CAPEX, rank=1), passage("Blue.", rank=2), passage(MOON, rank=3), passage(MOON, rank=4)]
    quotes = list(select_quotes(MOON_QUESTION, passages))
    assert [quote.number for quote in quotes] == [3, 1, 2]
    assert [quote.answer for quote in quotes] == ["Its diameter is 3,474 kilometres.", "", ""]


def test_a_passage_without_words_gives_no_quote_and_the_next_one_takes_its_place():
    assert [quote.number for quote in select_quotes("moon", [passage("  \n", rank=1), passage(MOON, rank=2)])] == [2]


def test_quotes_need_no_langchain():
    code = "import assistant.answering.excerpts, assistant.answering.agent, assistant.cli, sys; print(any('langchain' in m for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_quote_is_shown_in_the_pages_lines_and_its_own_brackets_are_no_citation():
    text = "Sales   12 13 [4]\nCosts 4 5 [1, 2]\n\nSee [note] and [3]."
    (quote,) = select_quotes("sales", [passage(text, rank=2)])
    assert format_quote(quote) == (
        "“Sales 12 13 (4)” [2]\n\n“Sales 12 13 (4)\nCosts 4 5 (1, 2)\nSee [note] and (3).” [2]"
    )


HANDBOOK = (
    "Leave\nHow many days of vacation are there?\nEmployees of both offices, who we value, take twenty days of vacation a year. "
    "Vacation is a right of all employees, and who has leave left tells the office.\n"
    "Reviews\nA performance review is a talk about goals and results of the year. Reviews of performance are conducted by "
    "Dora Maar, who leads the office. The first talks of this kind were held on 3 May 2019 in the office of sales."
)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (
            "How many days of vacation do employees get?",
            "Employees of both offices, who we value, take twenty days of vacation a year.",
        ),
        ("What is a performance review?", "A performance review is a talk about goals and results of the year."),
        (
            "Who conducts performance reviews?",
            "Reviews of performance are conducted by Dora Maar, who leads the office.",
        ),
        (
            "When were the first talks held?",
            "The first talks of this kind were held on 3 May 2019 in the office of sales.",
        ),
    ],
)
def test_the_first_line_is_the_sentence_that_holds_what_is_asked_for(question, answer):
    (quote,) = select_quotes(question, [passage(HANDBOOK, start=50)])
    assert quote.answer == answer == HANDBOOK[quote.answer_start - 50 : quote.answer_end - 50]
    assert format_quote(quote).splitlines()[0] == f"“{answer}” [1]"
    assert answer in quote.quote


def test_an_explanation_is_as_many_sentences_as_fit():
    text = "Why claims are denied is written in each letter. Claims are denied if they come late. A claim is late a year after the visit to the doctor."
    (quote,) = select_quotes("Why are claims denied?", [passage(text)])
    assert quote.answer == text
    assert format_quote(quote) == f"“{text}” [1]"


def test_an_amount_is_answered_by_its_row_with_label_head_of_the_year_and_unit():
    cells = (Cell("2018", "(1,577)", 51, 58), Cell("2017", "(1,373)", 59, 66))
    rows = [
        TableRow(0, 74, "Purchases of PP&E", cells, "Millions"),
        TableRow(75, 114, "Proceeds from sale of PP&E", (Cell("2018", "262", 102, 105),), "Millions"),
    ]
    (quote,) = select_quotes("What were purchases of PP&E in FY2018?", [passage(CAPEX)], tables=lambda _: rows)
    assert quote.answer == CAPEX.splitlines()[0]
    assert quote.rows == ("Purchases of PP&E: 2018 (1,577) (Millions)",)
    assert format_quote(quote).splitlines()[1] == quote.rows[0]


def test_a_question_about_two_years_keeps_both_columns():
    cells = (Cell("2018", "(1,577)", 51, 58), Cell("2017", "(1,373)", 59, 66))
    rows = [TableRow(0, 74, "Purchases of PP&E", cells)]
    question = "Did purchases of PP&E grow from 2017 to 2018?"
    (quote,) = select_quotes(question, [passage(CAPEX)], tables=lambda _: rows)
    assert quote.rows == ("Purchases of PP&E: 2018 (1,577); 2017 (1,373)",)


def test_no_running_header_is_part_of_a_quote():
    text = "The warranty lasts\nANNUAL REPORT 2019\n24 months."
    (quote,) = select_quotes("How long is the warranty?", [replace(passage(text), margins=((18, 38),))])
    assert "ANNUAL" not in quote.quote


def test_a_question_in_another_language_gets_its_date():
    text = "Die Firma baut Pumpen. Die Firma wurde 1869 in Ulm gegründet. Die Firma wächst und wurde gegründet, um zu bauen."
    (quote,) = select_quotes("Wann wurde die Firma gegründet?", [passage(text)])
    assert quote.answer == "Die Firma wurde 1869 in Ulm gegründet."

import subprocess
import sys

from assistant.answering.excerpts import MAX_QUOTE_CHARACTERS, format_quote, select_quotes
from tests.assistant.helpers import CAPEX, MOON, passage

LONG = " ".join(f"Sentence number {i} speaks of nothing in particular." for i in range(30))


def test_the_quote_is_verbatim_and_holds_the_words_of_the_question():
    text = f"{LONG} The warranty lasts 24 months. {LONG}"
    (quote,) = select_quotes("How long does the warranty last?", [passage(text, start=100, page=4)])
    assert "The warranty lasts 24 months." in quote.quote
    assert text[quote.start - 100 : quote.end - 100] == quote.quote
    assert len(quote.quote) <= MAX_QUOTE_CHARACTERS
    assert quote.page == 4


def test_one_quote_a_passage_in_their_order_with_their_numbers():
    quotes = select_quotes(
        "moon", [passage(MOON, rank=1), passage(CAPEX, rank=2), passage(MOON, rank=3), passage(MOON, rank=4)]
    )
    assert [quote.number for quote in quotes] == [1, 2, 3]


def test_a_passage_without_words_gives_no_quote_and_the_next_one_takes_its_place():
    assert [quote.number for quote in select_quotes("moon", [passage("  \n", rank=1), passage(MOON, rank=2)])] == [2]


def test_quotes_need_no_langchain():
    code = "import assistant.answering.excerpts, assistant.answering.agent, assistant.cli, sys; print(any('langchain' in m for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_quote_is_shown_in_the_pages_lines_and_its_own_brackets_are_no_citation():
    text = "Sales   12 13 [4]\nCosts 4 5 [1, 2]\n\nSee [note] and [3]."
    (quote,) = select_quotes("sales", [passage(text, rank=2)])
    assert format_quote(quote) == "“Sales 12 13 (4)\nCosts 4 5 (1, 2)\nSee [note] and (3).” [2]"

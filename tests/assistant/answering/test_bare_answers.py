import re

import pytest

from assistant.answering.bare_answers import BareCheck
from tests.assistant.helpers import passage

CHECK = BareCheck([passage("Legal Proceedings\n\nThe company is party to lawsuits.\nNet sales 32,765 32,136")])


@pytest.mark.parametrize(
    "text",
    ["[1]", "[1][2].", "Yes.", "**No** [1]", "Ja.", "3.", "Legal proceedings [1]", "Net sales 32,765 32,136", "はい。"],
)
def test_a_number_a_verdict_or_a_line_of_the_page_is_bare(text):
    assert CHECK.is_bare(text)
    pieces = re.findall(r"\[\d\]|.", text)  # a mark arrives whole
    assert all(CHECK.may_become_bare("".join(pieces[:end])) for end in range(len(pieces)))


@pytest.mark.parametrize(
    "text",
    ["", "Yes, it is party to lawsuits.", "The company is party to lawsuits.", "$27 million", "1907", "No shipping."],
)
def test_a_statement_or_an_amount_is_not(text):
    assert not CHECK.is_bare(text)


def test_an_answer_is_held_back_no_longer_than_it_may_be_bare():
    assert CHECK.may_become_bare("Net sales")
    assert not CHECK.may_become_bare("Net sales were")


def test_a_number_is_an_answer_where_an_amount_is_asked_for():
    check = BareCheck([passage("Rinse three times.")], amount=True)
    assert not check.is_bare("3.")
    assert check.is_bare("[3]")

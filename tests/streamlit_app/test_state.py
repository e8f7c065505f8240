"""What a session remembers: the page that is shown, its marks and its zoom."""

from __future__ import annotations

import pytest

from assistant.answering.citations import Citation
from streamlit_app.conversation import OpenConversation
from streamlit_app.state import Session, ShownPage
from tests.assistant.helpers import passage


def test_a_citation_opens_its_page_with_passage_and_quote() -> None:
    found = passage("One. Two. Three.", page=4, start=100)
    cited = Citation(1, "report.pdf", "id-report.pdf", 4, "iv", 105, 109, "Two.")
    shown = ShownPage.of_citation(cited, found)
    assert (shown.page, shown.passage, shown.quote, shown.marked_page) == (4, (100, 116), (105, 109), 4)
    assert ShownPage.of_citation(cited, None).passage is None


def test_what_answers_in_a_quote_is_marked_alone() -> None:
    cited = Citation(1, "report.pdf", "id-report.pdf", 4, "iv", 100, 109, "One. Two.", answer_start=105, answer_end=109)
    assert cited.answer == "Two."
    assert ShownPage.of_citation(cited, None).quote == (105, 109)


def test_turning_the_page_keeps_the_marks_on_their_page() -> None:
    session = Session("default", OpenConversation("default"))
    session.turn_page(3)
    assert session.page is None, "nothing is shown, so nothing is turned"
    session.page = ShownPage("id", 4, passage=(1, 2), marked_page=4)
    session.turn_page(5)
    assert (session.page.page, session.page.marked_page) == (5, 4)


@pytest.mark.parametrize(("steps", "expected"), [(1, 1.5), (9, 3.0), (-1, 0.75), (-9, 0.75), (0, 1.0)])
def test_zoom_stays_within_its_steps(steps: int, expected: float) -> None:
    session = Session("default", OpenConversation("default"))
    session.change_zoom(steps)
    assert session.zoom == expected

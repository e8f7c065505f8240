"""What a session remembers: turns in the conversation they began in, also when they cannot be kept."""

from __future__ import annotations

import threading

import pytest

from assistant.answering.agent import Answer
from assistant.answering.citations import Citation
from assistant.conversations.history import History
from assistant.errors import HistoryError
from streamlit_app.state import PageRef, Session, Talk, turn_page, zoom
from tests.assistant.helpers import passage


def answer(text: str) -> Answer:
    return Answer(question=f"{text}?", text=text, refused=False, mode="quotes", model="quotes")


def test_the_first_turn_begins_a_kept_conversation(tmp_path) -> None:
    history = History(tmp_path)
    talk = Talk("default")
    assert history.conversations() == []
    talk.add(answer("one"), lambda: history)
    talk.add(answer("two"), lambda: history)
    [kept] = history.conversations()
    assert (kept.id, kept.library, kept.title, kept.turns) == (talk.conversation, "default", "one?", 2)


def test_an_answer_that_cannot_be_kept_is_shown_all_the_same() -> None:
    def broken() -> History:
        raise HistoryError("the disk is full", "free some space")

    talk = Talk("default")
    talk.add(answer("one"), broken)
    assert [turn.answer.text for turn in talk.turns] == ["one"]
    assert "the disk is full" in talk.problem and "free some space" in talk.problem


def test_cutting_removes_the_turns_from_the_history_as_well(tmp_path) -> None:
    history = History(tmp_path)
    talk = Talk("default")
    for text in ("one", "two", "three"):
        talk.add(answer(text), lambda: history)
    talk.cut(1, lambda: history)
    assert [turn.answer.text for turn in talk.turns] == ["one"]
    assert [turn.answer.text for turn in history.turns(talk.conversation)] == ["one"]
    talk.add(answer("four"), lambda: history)
    assert [turn.answer.text for turn in history.turns(talk.conversation)] == ["one", "four"]


def test_without_a_history_nothing_is_written_and_the_export_still_has_it_all(tmp_path) -> None:
    talk = Talk("default")
    talk.add(answer("one"), None)
    talk.cut(5, None)
    conversation, turns = talk.as_kept()
    assert (conversation.title, conversation.turns, len(turns)) == ("one?", 1, 1)
    assert talk.conversation is None and list(tmp_path.iterdir()) == []


def test_two_answers_at_once_both_arrive(tmp_path) -> None:
    history = History(tmp_path)
    talk = Talk("default")
    threads = [threading.Thread(target=talk.add, args=(answer(str(n)), lambda: history)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(talk.turns) == 8
    assert len(history.conversations()) == 1


def test_a_citation_opens_its_page_with_passage_and_quote() -> None:
    found = passage("One. Two. Three.", page=4, start=100)
    cited = Citation(1, "report.pdf", "id-report.pdf", 4, "iv", 105, 109, "Two.")
    shown = PageRef.of(cited, found)
    assert (shown.page, shown.passage, shown.quote, shown.marked_page) == (4, (100, 116), (105, 109), 4)
    assert PageRef.of(cited, None).passage is None


def test_turning_keeps_the_marks_where_they_belong() -> None:
    own = Session("default", Talk("default"))
    turn_page(own, 3)
    assert own.page is None, "nothing is shown, so nothing is turned"
    own.page = PageRef("id", 4, passage=(1, 2), marked_page=4)
    turn_page(own, 5)
    assert (own.page.page, own.page.marked_page) == (5, 4)


@pytest.mark.parametrize(("steps", "expected"), [(1, 1.5), (9, 3.0), (-1, 0.75), (-9, 0.75), (0, 1.0)])
def test_zoom_stays_within_its_steps(steps: int, expected: float) -> None:
    own = Session("default", Talk("default"))
    zoom(own, steps)
    assert own.zoom == expected

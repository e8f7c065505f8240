"""The open conversation: turns are added, cut, saved and exported, even if saving fails."""

from __future__ import annotations

import threading

from assistant.answering.answer import Answer
from assistant.conversations.history import History
from assistant.errors import HistoryError
from streamlit_app.conversation import OpenConversation


def answer(text: str) -> Answer:
    return Answer(question=f"{text}?", text=text, refused=False, mode="quotes", model="quotes")


def test_the_first_turn_starts_a_saved_conversation(tmp_path) -> None:
    history = History(tmp_path)
    conversation = OpenConversation("default")
    assert history.conversations() == []
    conversation.add(answer("one"), lambda: history)
    conversation.add(answer("two"), lambda: history)
    [saved] = history.conversations()
    assert (saved.id, saved.library, saved.title, saved.turns) == (conversation.id, "default", "one?", 2)


def test_an_answer_that_cannot_be_saved_is_still_shown() -> None:
    def broken() -> History:
        raise HistoryError("the disk is full", "free some space")

    conversation = OpenConversation("default")
    conversation.add(answer("one"), broken)
    assert [turn.answer.text for turn in conversation.turns] == ["one"]
    assert "the disk is full" in conversation.save_error and "free some space" in conversation.save_error


def test_cutting_removes_the_turns_from_the_history_as_well(tmp_path) -> None:
    history = History(tmp_path)
    conversation = OpenConversation("default")
    for text in ("one", "two", "three"):
        conversation.add(answer(text), lambda: history)
    conversation.cut(1, lambda: history)
    assert [turn.answer.text for turn in conversation.turns] == ["one"]
    assert [turn.answer.text for turn in history.turns(conversation.id)] == ["one"]
    conversation.add(answer("four"), lambda: history)
    assert [turn.answer.text for turn in history.turns(conversation.id)] == ["one", "four"]


def test_without_a_history_nothing_is_saved_and_the_export_is_complete(tmp_path) -> None:
    conversation = OpenConversation("default")
    conversation.add(answer("one"), None)
    conversation.cut(5, None)
    exported, turns = conversation.export()
    assert (exported.title, exported.turns, len(turns)) == ("one?", 1, 1)
    assert not conversation.saved and list(tmp_path.iterdir()) == []


def test_two_answers_at_the_same_time_are_both_added(tmp_path) -> None:
    history = History(tmp_path)
    conversation = OpenConversation("default")
    threads = [threading.Thread(target=conversation.add, args=(answer(str(n)), lambda: history)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(conversation.turns) == 8
    assert len(history.conversations()) == 1

import json
import sqlite3
import stat
import threading

import pytest

from assistant.conversations.history import FILE, SCHEMA, History, answer_from_json, answer_to_json
from assistant.errors import ConversationNotFound, HistoryError
from quire import UsageError
from tests.assistant.conversations.helpers import QUESTION, an_answer


def test_a_stored_answer_is_read_back_unchanged():
    answer = an_answer()
    assert answer_from_json(answer_to_json(answer)) == answer


def test_quotes_beside_an_unsupported_amount_are_read_back():
    answer = an_answer("Its diameter is 9,999 kilometres.")
    assert answer.quotes
    assert answer_from_json(answer_to_json(answer)) == answer


def test_an_answer_stored_before_citations_said_who_found_them_cites_what_the_model_did():
    value = json.loads(answer_to_json(an_answer()))
    del value["quotes"]
    for citation in value["citations"]:
        del citation["by"]
    read = answer_from_json(json.dumps(value))
    assert ([citation.by for citation in read.citations], read.quotes) == (["model"], ())


def test_turns_are_read_back_in_order_after_closing(tmp_path):
    history = History(tmp_path)
    conversation = history.start("default")
    answers = [an_answer(), an_answer("Nobody lives there [1].")]
    for answer in answers:
        history.add(conversation, answer)
    history.close()
    again = History(tmp_path)
    assert [turn.answer for turn in again.turns(conversation)] == answers
    (listed,) = again.conversations()
    assert (listed.title, listed.turns, listed.library) == (QUESTION, 2, "default")


def test_a_conversation_is_renamed_truncated_and_deleted(tmp_path):
    history = History(tmp_path)
    conversation = history.start("default")
    history.add(conversation, an_answer())
    history.add(conversation, an_answer("Nobody lives there [1]."))
    history.rename(conversation, "  The \n moon ")
    assert history.conversation(conversation[:6]).title == "The moon"
    history.truncate(conversation, 1)
    assert [turn.position for turn in history.turns(conversation)] == [0]
    history.delete(conversation)
    assert history.conversations() == []
    with pytest.raises(ConversationNotFound, match="--list"):
        history.turns(conversation)


def test_deleting_a_conversation_removes_its_feedback_and_its_text_from_the_disk(tmp_path):
    history = History(tmp_path)
    conversation = history.start("default")
    turn = history.add(conversation, an_answer())
    history.rate(turn.answer, -1, edit="xylophone", conversation_id=conversation, turn_id=turn.id)
    history.delete(conversation)
    assert history.feedback() == []
    history.close()
    assert b"xylophone" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_a_second_thumb_on_a_turn_replaces_the_first(tmp_path):
    history = History(tmp_path)
    conversation = history.start("default")
    turn = history.add(conversation, an_answer())
    history.rate(turn.answer, 1, conversation_id=conversation, turn_id=turn.id)
    history.rate(turn.answer, -1, edit="Better.", conversation_id=conversation, turn_id=turn.id)
    assert [(row.thumb, row.edit) for row in history.feedback()] == [(-1, "Better.")]


def test_feedback_is_stored_without_a_conversation(tmp_path):
    history = History(tmp_path)
    history.rate(an_answer(), 1)
    assert [row.answer.question for row in history.feedback()] == [QUESTION]


def test_a_thumb_is_up_or_down(tmp_path):
    with pytest.raises(UsageError, match="use 1 for up"):
        History(tmp_path).rate(an_answer(), 0)


def test_only_the_owner_can_read_the_file_and_it_has_a_schema_version(tmp_path):
    History(tmp_path).close()
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    with sqlite3.connect(tmp_path / FILE) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
    db.close()


def test_a_newer_file_and_a_damaged_file_are_refused_with_a_hint(tmp_path):
    History(tmp_path).close()
    db = sqlite3.connect(tmp_path / FILE)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(HistoryError, match="update quire"):
        History(tmp_path)
    (tmp_path / FILE).write_bytes(b"not a database at all, but long enough to look" * 10)
    with pytest.raises(HistoryError, match="move the file away"):
        History(tmp_path)


def test_two_threads_and_two_connections_write_side_by_side(tmp_path):
    first, second = History(tmp_path), History(tmp_path)
    conversation, answer = first.start("default"), an_answer()

    def write(history):
        for _ in range(20):
            history.add(conversation, answer)

    threads = [threading.Thread(target=write, args=(history,)) for history in (first, first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [turn.position for turn in second.turns(conversation)] == list(range(60))

import threading
import time

import pytest

from assistant.answering.answer import Done, Notice, Token
from tests.assistant.helpers import MOON_QUESTION, make_agent, scripted


def test_a_failure_in_mid_stream_keeps_the_partial_answer_and_marks_it_incomplete():
    agent = make_agent(scripted(["Its diameter is", RuntimeError("the server died")]))
    events = list(agent.stream(MOON_QUESTION))
    answer = events[-1].answer
    assert answer.text == "Its diameter is"
    assert "the server died" in answer.interrupted
    assert any("was cut off and is incomplete" in event.text for event in events if isinstance(event, Notice))


def test_a_failure_before_the_first_word_is_raised():
    with pytest.raises(RuntimeError, match="dead"):
        make_agent(scripted(RuntimeError("dead"))).ask(MOON_QUESTION)


def test_at_most_one_token_comes_after_a_cancel():
    agent, cancel = make_agent(scripted("word " * 400, pause=0.005)), threading.Event()
    after = 0
    for event in agent.stream(MOON_QUESTION, cancel=cancel):
        if isinstance(event, Token):
            after += cancel.is_set()
            cancel.set()
        if isinstance(event, Done):
            answer = event.answer
    assert after <= 1
    assert answer.interrupted == "stopped"
    assert 1 <= len(answer.text.split()) <= 2


def test_a_cancel_before_the_first_token_ends_at_once():
    agent, cancel = make_agent(scripted("late", pause=5)), threading.Event()
    threading.Timer(0.1, cancel.set).start()
    started = time.monotonic()
    answer = agent.ask(MOON_QUESTION, cancel=cancel)
    assert time.monotonic() - started < 2
    assert (answer.text, answer.interrupted) == ("", "stopped")


def test_a_stream_without_a_finish_reason_is_reported_as_broken_off():
    agent = make_agent(scripted("Its diameter"))
    object.__setattr__(agent.model, "reports_finish_reason", True)
    answer = agent.ask(MOON_QUESTION)
    assert "without a finish reason" in answer.interrupted
    assert answer.text == "Its diameter"

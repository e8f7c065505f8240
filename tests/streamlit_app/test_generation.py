"""Answers in their own thread: stopped at the server, finished when nobody looks, never a stack trace."""

from __future__ import annotations

import time

import pytest

from assistant.answering.agent import Agent
from assistant.answering.answer import Answer
from assistant.config import AssistantConfig
from assistant.errors import AssistantError
from assistant.llm.kinds import load_model
from streamlit_app.generation import Generation
from tests.streamlit_app.scripted_server import ScriptedServer

LONG = " ".join(f"word{n}" for n in range(400))


def begin(server: ScriptedServer, kept: list[Answer], tmp_path) -> Generation:
    config = AssistantConfig(home=tmp_path, openai_base_url=server.url)
    return Generation(
        "Count", lambda: Agent(config, load_model("openai:scripted", config)), kept.append, use_documents=False
    )


def until(true, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)


@pytest.mark.parametrize("pause", [0.004, 0.02, 0.08])
def test_after_a_stop_the_server_sends_at_most_one_more_word(tmp_path, pause: float) -> None:
    kept: list[Answer] = []
    with ScriptedServer(lambda _: LONG, pause=pause) as server:
        generation = begin(server, kept, tmp_path)
        until(lambda: server.sent >= 8)
        generation.stop()
        before = server.sent
        until(lambda: generation.done)
        until(server.left.is_set)
        assert server.sent <= before + 1
    assert kept[0].interrupted == "stopped"
    assert kept[0].text.startswith("word0 word1")
    assert len(kept[0].text.split()) <= before + 1


def test_a_stop_before_the_first_word_stops_the_server(tmp_path) -> None:
    kept: list[Answer] = []
    with ScriptedServer(lambda _: LONG, silence=20) as server:
        generation = begin(server, kept, tmp_path)
        until(lambda: server.requests)
        started = time.monotonic()
        generation.stop()
        until(server.left.is_set)
        until(lambda: generation.done)
        assert time.monotonic() - started < 2
        assert server.sent == 0
    assert kept[0].text == ""


def test_when_the_server_dies_the_text_so_far_is_kept(tmp_path) -> None:
    kept: list[Answer] = []
    with ScriptedServer(lambda _: LONG, pause=0.01) as server:
        generation = begin(server, kept, tmp_path)
        until(lambda: server.sent >= 10)
        server.dying.set()
        until(lambda: generation.done)
    assert generation.failure is None
    assert kept[0].interrupted not in ("", "stopped")
    assert kept[0].text.startswith("word0 word1 word2")


def test_an_answer_is_finished_while_nobody_looks(tmp_path) -> None:
    kept: list[Answer] = []
    with ScriptedServer(lambda _: "All is well.") as server:
        generation = begin(server, kept, tmp_path)
        until(lambda: generation.done)
    assert [answer.text for answer in kept] == ["All is well."]


def test_an_error_before_the_answer_is_kept_with_its_hint() -> None:
    def build() -> Agent:
        raise AssistantError("the cellar is locked", "fetch the key")

    generation = Generation("?", build, lambda _: None)
    until(lambda: generation.done)
    assert (generation.failure.message, generation.failure.hint) == ("the cellar is locked", "fetch the key")


def test_a_bug_shows_no_stack_trace_but_is_in_the_log(caplog) -> None:
    def build() -> Agent:
        raise ZeroDivisionError("secret detail")

    generation = Generation("?", build, lambda _: None)
    until(lambda: generation.done)
    assert "secret detail" not in generation.failure.message + generation.failure.hint
    assert "secret detail" in caplog.text


def test_wait_returns_at_once_if_there_is_something_newer() -> None:
    generation = Generation("?", lambda: 1 / 0, lambda _: None)
    until(lambda: generation.done)
    started = time.monotonic()
    generation.wait(-1, seconds=5)
    generation.wait(99, seconds=5)  # done: nothing newer will come, so nothing is waited for
    assert time.monotonic() - started < 1

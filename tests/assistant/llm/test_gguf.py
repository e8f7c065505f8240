import threading
import time

import pytest

from assistant.answering.agent import Agent
from assistant.answering.answer import Done, Token
from assistant.answering.prompt import Message
from assistant.config import AssistantConfig, Sampling
from assistant.errors import ModelError, ModelNotFound, PromptTooLong
from assistant.llm.kinds import load_model
from tests.assistant.helpers import PagesStore, WordEmbedder
from tests.assistant.tiny import write_gguf

pytest.importorskip("xllamacpp")
QUESTION = "What is the diameter of the moon?"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", context=4096)


def make_agent(path, **settings):
    config = AssistantConfig(**({"window": 2048, "max_tokens": 24, "threshold": 0.2} | settings))
    return Agent(config, load_model(f"gguf:{path}", config), PagesStore(), WordEmbedder())


def test_the_agent_streams_from_a_gguf_file_in_this_process(path):
    agent = make_agent(path)
    events = list(agent.stream(QUESTION))
    answer = events[-1].answer
    assert sum(isinstance(event, Token) for event in events) > 3
    assert answer.usage.answer_tokens == 24
    assert any("maximum length" in notice for notice in answer.notices)
    assert agent.model.counts_exactly
    counted = agent.model.count("".join(message.content for message in answer.messages))
    assert counted <= answer.usage.prompt_tokens <= counted + 40


def test_temperature_zero_repeats_itself_and_a_seed_does(path):
    agent = make_agent(path)
    for sampling in (Sampling(temperature=0, max_tokens=12), Sampling(temperature=1, seed=7, max_tokens=12)):
        assert agent.ask(QUESTION, sampling=sampling).text == agent.ask(QUESTION, sampling=sampling).text


def test_a_stop_text_ends_the_answer(path):
    agent = make_agent(path)
    whole = agent.ask(QUESTION, sampling=Sampling(temperature=0, max_tokens=12)).text
    cut = agent.ask(QUESTION, sampling=Sampling(temperature=0, max_tokens=12, stop=(whole[4:6],))).text
    assert cut == whole[: whole.index(whole[4:6])].strip()


def test_a_cancel_ends_generation_and_frees_the_model(path):
    agent, cancel, after = make_agent(path, max_tokens=1000), threading.Event(), 0
    for event in agent.stream(QUESTION, cancel=cancel):
        if isinstance(event, Token):
            after += cancel.is_set()
            cancel.set()
        if isinstance(event, Done):
            assert event.answer.interrupted == "stopped"
    assert after <= 1
    started = time.monotonic()
    make_agent(path, max_tokens=2).ask(QUESTION)
    assert time.monotonic() - started < 3


def test_the_window_is_capped_by_the_models_own(path):
    assert make_agent(path, window=100_000).model.window == 4096


def test_a_prompt_over_the_window_is_an_error_and_not_truncated(path):
    from assistant.answering.agent_graph import complete

    chat = make_agent(path).model.build(Sampling(max_tokens=2))
    with pytest.raises(PromptTooLong, match="exceeds the available context size"):
        complete(chat, [Message("user", "a" * 5000)])


def test_a_missing_file_and_one_that_is_not_gguf_are_named(tmp_path):
    with pytest.raises(ModelNotFound, match=r"gguf:/path/model\.gguf"):
        load_model(f"gguf:{tmp_path}/gone.gguf", AssistantConfig())
    (tmp_path / "x.gguf").write_text("nothing")
    with pytest.raises(ModelError, match="is not a GGUF file"):
        load_model(f"gguf:{tmp_path}/x.gguf", AssistantConfig())
    (tmp_path / "y.gguf").write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(ModelError, match="cannot load"):
        load_model(f"gguf:{tmp_path}/y.gguf", AssistantConfig())

import threading
import time

import httpx
import pytest

from assistant.answering.agent import Agent
from assistant.answering.answer import Done, Token
from assistant.answering.prompt import Message
from assistant.config import AssistantConfig, Sampling
from assistant.errors import ModelError, ModelNotFound, PromptTooLong
from assistant.llm.gguf import BATCH, _chat_class
from assistant.llm.kinds import load_model
from tests.assistant.helpers import PagesStore, WordEmbedder
from tests.assistant.tiny import write_gguf

pytest.importorskip("xllamacpp")
QUESTION = "What is the diameter of the moon?"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", context=4096)


def make_agent(path, **settings):
    config = AssistantConfig(**({"window": 2048, "max_tokens": 24, "threshold": 0.05} | settings))
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


class Watch:
    """Sees each event of a chat's generation before the chat does; counts those after its stop."""

    def __init__(self, monkeypatch, at_event=lambda chat, number: None):
        self.pieces, self.events, self.after_stop = [], 0, 0
        original = _chat_class().generate_text
        watch = self

        def generate_text(chat, messages, stop, emit):
            def seen(text):
                watch.events += 1
                watch.pieces += [text] if text else []
                watch.after_stop += chat._stopped.is_set()
                at_event(chat, watch.events)
                return emit(text)

            return original(chat, messages, stop, seen)

        monkeypatch.setattr(_chat_class(), "generate_text", generate_text)


def evaluated_tokens(server):
    """Return the tokens of prompt and answer that llama.cpp has evaluated, once it is idle."""
    for _ in range(200):
        [slot] = httpx.get(f"{server.listening_address}/slots", trust_env=False).json()
        if not slot["is_processing"]:
            return slot["n_prompt_tokens"]
        time.sleep(0.02)
    raise AssertionError("llama.cpp still computes")


def test_a_stop_ends_the_computation_within_one_forward_pass(tmp_path, monkeypatch):
    # so large that a pass takes longer than the way of its token to this process's threads
    path = write_gguf(tmp_path / "slow.gguf", context=2048, embedding=384, layers=8)
    agent, cancel = make_agent(path, max_tokens=1000), threading.Event()
    watch = Watch(monkeypatch)
    for event in agent.stream(QUESTION, cancel=cancel):
        if isinstance(event, Token):
            cancel.set()
    asked = [(message.role, message.content) for message in event.answer.messages]
    chat = agent.model.build(Sampling(max_tokens=1))
    evaluated, pieces = evaluated_tokens(chat.server), len(watch.pieces)
    answered = evaluated - chat.invoke(asked).usage_metadata["input_tokens"]
    # the last token that was seen is evaluated by the pass in progress; llama.cpp may begin one more meanwhile
    assert 0 <= answered <= pieces + 1 < 1000
    assert watch.after_stop <= 1


def test_a_stop_during_the_prompt_ends_within_one_batch(path, monkeypatch):
    chat = make_agent(path, window=4096).model.build(Sampling(max_tokens=8))
    watch = Watch(monkeypatch, lambda chat, number: chat.stop() if number == 3 else None)
    list(chat.stream("moon " * 700))
    # events: none evaluated yet, one batch, two batches
    assert 2 * BATCH <= evaluated_tokens(chat.server) <= 3 * BATCH
    assert watch.events == 3 and not watch.pieces


def test_a_stopped_chat_computes_nothing(path, monkeypatch):
    chat, watch = make_agent(path).model.build(Sampling(max_tokens=8)), Watch(monkeypatch)
    before = evaluated_tokens(chat.server)
    chat.stop()
    list(chat.stream("another question"))
    assert evaluated_tokens(chat.server) == before and not watch.events


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

import shutil
import threading
import time

import pytest

from assistant.answering.agent import Agent
from assistant.answering.answer import Done, Notice, Token
from assistant.config import AssistantConfig, Sampling
from assistant.errors import ModelNotFound, ModelUnreachable
from assistant.llm.available import choose_model, list_models
from assistant.llm.kinds import load_model
from assistant.llm.ollama import context_window
from tests.assistant.helpers import PagesStore, WordEmbedder
from tests.assistant.ollama_server import OllamaServer, ollama_binary
from tests.assistant.tiny import write_gguf

needs_ollama = pytest.mark.skipif(not ollama_binary(), reason="no `ollama` on the PATH")
QUESTION = "What is the diameter of the moon?"


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="module")
def ollama(tmp_path_factory, gguf):
    folder = tmp_path_factory.mktemp("ollama")
    server = OllamaServer(folder)
    server.create("tiny", gguf)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


def make_agent(server, home, **settings):
    settings = {
        "window": 2048,
        "max_tokens": 24,
        "threshold": 0.05,
        "ollama_host": server.base,
        "home": home,
    } | settings
    config = AssistantConfig(**settings)
    return Agent(config, load_model("tiny", config), PagesStore(), WordEmbedder())


@needs_ollama
@pytest.mark.server
def test_ollama_streams_an_answer_and_its_count_of_the_prompt_fits_ours(ollama, tmp_path):
    agent = make_agent(ollama, tmp_path)
    events = list(agent.stream(QUESTION))
    assert sum(isinstance(event, Token) for event in events) > 3
    answer = events[-1].answer
    assert answer.model == "ollama:tiny"
    assert 0 < answer.usage.answer_tokens <= 24
    estimated = agent.model.count("".join(message.content for message in answer.messages))
    assert estimated <= answer.usage.prompt_tokens <= estimated + 40
    assert not [notice for notice in answer.notices if "cut the prompt" in notice]


@needs_ollama
@pytest.mark.server
def test_ollama_loads_the_model_once_in_20_questions(ollama, tmp_path):
    agent = make_agent(ollama, tmp_path)
    before = ollama.log.read_text().count("llama runner started")
    agent.ask(QUESTION)
    first = ollama.loaded()
    history = []
    for n in range(20):
        history.append(
            agent.ask(
                f"{QUESTION} {n}", sampling=Sampling(max_tokens=2 + n % 3, temperature=n / 20), history=history[-2:]
            )
        )
    after = ollama.loaded()
    assert [(model["name"], model["context_length"]) for model in first] == [("tiny:latest", 2048)]
    assert [(m["name"], m["context_length"], m["digest"]) for m in after] == [
        (m["name"], m["context_length"], m["digest"]) for m in first
    ]
    assert ollama.log.read_text().count("llama runner started") <= before + 2  # one load writes the line twice


@needs_ollama
@pytest.mark.server
def test_ollama_gets_a_prompt_that_fits_and_truncates_nothing(ollama, tmp_path):
    pages = {("long.pdf", n): f"Chapter {n} of the moon. " + "The moon is round and grey. " * 40 for n in range(1, 40)}
    config = AssistantConfig(
        home=tmp_path, window=2048, max_tokens=64, threshold=0.05, ollama_host=ollama.base, passages=20
    )
    agent = Agent(config, load_model("ollama:tiny", config), PagesStore(pages), WordEmbedder())
    answer = agent.ask("What is the moon?")
    assert answer.usage.dropped_passages > 10
    assert any("did not fit the model's window" in notice for notice in answer.notices)
    assert 1000 < answer.usage.prompt_tokens <= 2048 - 64
    assert not [notice for notice in answer.notices if "cut the prompt" in notice]
    assert "truncating input prompt" not in ollama.log.read_text()


@needs_ollama
@pytest.mark.server
def test_a_prompt_that_ollama_truncates_is_reported(ollama, tmp_path):
    agent = make_agent(ollama, tmp_path)
    wrong = agent.model.build

    def smaller(sampling):
        chat = wrong(sampling)
        chat.num_ctx = 512
        return chat

    object.__setattr__(agent.model, "build", smaller)
    answer = agent.ask(QUESTION)
    assert any("it cut the prompt" in notice for notice in answer.notices)


@needs_ollama
@pytest.mark.server
@pytest.mark.parametrize("after_tokens", [0, 3])
def test_ollama_stops_writing_when_the_answer_is_cancelled(ollama, tmp_path, after_tokens):
    agent = make_agent(ollama, tmp_path, max_tokens=1000)
    cancel, after = threading.Event(), 0
    if after_tokens == 0:
        threading.Timer(0.02, cancel.set).start()
    started = time.monotonic()
    for event in agent.stream(QUESTION, cancel=cancel):
        if isinstance(event, Token):
            after += cancel.is_set()
            after_tokens -= 1
            if after_tokens == 0:
                cancel.set()
        if isinstance(event, Done):
            answer = event.answer
    assert time.monotonic() - started < 3
    assert after <= 1
    assert answer.interrupted == "stopped"
    # the server is free again at once: it would write 1000 tokens otherwise
    started = time.monotonic()
    make_agent(ollama, tmp_path, max_tokens=2).ask(QUESTION)
    assert time.monotonic() - started < 5


@needs_ollama
@pytest.mark.server
def test_ollama_without_the_model_names_the_pull(ollama, tmp_path):
    with pytest.raises(ModelNotFound, match="ollama pull nosuch"):
        load_model("ollama:nosuch", AssistantConfig(home=tmp_path, ollama_host=ollama.base))


@needs_ollama
@pytest.mark.server
def test_ollama_models_are_listed_and_the_first_is_the_default(ollama, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny.json").write_text('{"tag": "tiny", "base": "qwen", "data": "feedback"}')
    config = AssistantConfig(home=tmp_path, ollama_host=ollama.base)
    tiny, quotes = list_models(config)
    assert (tiny.name, tiny.quantization, tiny.tuned["base"]) == ("ollama:tiny:latest", "F16", "qwen")
    assert tiny.size_bytes > 100_000
    assert quotes.name == "quotes"
    assert choose_model(config) == ("ollama:tiny:latest", "")


@needs_ollama
@pytest.mark.server
def test_unverified_ollama_models_are_neither_listed_nor_the_default(ollama, gguf, tmp_path):
    from finetune.export.handover import trial_tag
    from finetune.export.ollama import Ollama

    config = AssistantConfig(home=tmp_path, ollama_host=ollama.base)
    with trial_tag(Ollama(ollama.base), "animals:latest") as trial:
        ollama.create(trial, gguf)  # the newest
        assert trial in Ollama(ollama.base).digests()
        assert {entry.name for entry in list_models(config)} == {"ollama:tiny:latest", "quotes"}
        assert choose_model(config) == ("ollama:tiny:latest", "")
    assert trial not in Ollama(ollama.base).digests()


@needs_ollama
@pytest.mark.server
def test_a_tag_exported_while_the_assistant_runs_is_listed(ollama, gguf, tmp_path, monkeypatch):
    from finetune.export.ollama import Ollama
    from finetune.export.ollama_tags import TagRecord, write_record

    monkeypatch.setenv("QUIRE_HOME", str(tmp_path))
    agent = make_agent(ollama, tmp_path)
    assert "ollama:animals:latest" not in {entry.name for entry in list_models(agent.config)}
    ollama.create("animals", gguf)
    try:
        listed = {entry.name: entry for entry in list_models(agent.config)}
        assert listed["ollama:animals:latest"].tuned == {}  # no record yet: a model like any other
        record = TagRecord("animals", base="qwen2-tiny", data={"a.json": "12ab"}, run="r1", quantization="", parity={})
        write_record(record)
        listed = {entry.name: entry for entry in list_models(agent.config)}
        tuned = listed["ollama:animals:latest"].tuned
        assert (tuned["base"], tuned["data"], tuned["date"]) == ("qwen2-tiny", {"a.json": "12ab"}, record.date)
        assert listed["ollama:tiny:latest"].tuned == {}
        assert load_model("animals", agent.config).name == "ollama:animals"
    finally:
        Ollama(ollama.base).remove("animals")
    assert "ollama:animals:latest" not in {entry.name for entry in list_models(agent.config)}


@needs_ollama
@pytest.mark.server
def test_ollama_killed_in_mid_stream_leaves_the_partial_answer(tmp_path, gguf):
    server = OllamaServer(tmp_path)
    try:
        server.create("tiny", gguf)
        agent = make_agent(server, tmp_path, max_tokens=1000)
        answer = None
        notices = []
        tokens = 0
        for event in agent.stream(QUESTION):
            if isinstance(event, Token):
                tokens += 1
                if tokens == 3:
                    server.stop(at_once=True)
            elif isinstance(event, Notice):
                notices.append(event.text)
            elif isinstance(event, Done):
                answer = event.answer
        assert len(answer.text) >= 3
        assert server.base in answer.interrupted
        assert any("incomplete" in notice for notice in notices)
        with pytest.raises(ModelUnreachable, match="ollama serve"):
            agent.ask(QUESTION)
    finally:
        server.stop()


@needs_ollama
@pytest.mark.server
def test_ollama_repeats_itself_at_temperature_zero(ollama, tmp_path):
    agent = make_agent(ollama, tmp_path)
    greedy = Sampling(temperature=0, max_tokens=6)
    assert agent.ask(QUESTION, sampling=greedy).text == agent.ask(QUESTION, sampling=greedy).text


def test_the_window_is_the_wanted_one_capped_by_the_models_own():
    info = {"model_info": {"general.architecture": "phi2", "phi2.context_length": 2048}}
    assert context_window(info, 8192) == 2048
    assert context_window(info, 1024) == 1024
    assert context_window({}, 8192) == 8192

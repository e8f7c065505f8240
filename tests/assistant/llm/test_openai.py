import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from assistant.answering.agent import Agent
from assistant.answering.answer import Done, Token
from assistant.config import AssistantConfig, Sampling
from assistant.errors import AssistantError, ModelError, ModelUnreachable
from assistant.llm.kinds import load_model
from assistant.llm.openai import explain
from quire import UsageError
from tests.assistant.helpers import PagesStore, WordEmbedder
from tests.assistant.tiny import write_gguf

pytest.importorskip("langchain_openai")
xllamacpp = pytest.importorskip("xllamacpp")
QUESTION = "What is the diameter of the moon?"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """An OpenAI-compatible server: the one inside llama.cpp, on a tiny model."""
    params = xllamacpp.CommonParams()
    params.model.path = str(write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", context=4096))
    params.n_ctx = 4096
    params.n_parallel = 1
    params.warmup = False
    params.verbosity = -1
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server


def make_agent(base, **settings):
    settings = {"window": 4096, "max_tokens": 16, "threshold": 0.05} | settings
    config = AssistantConfig(openai_base_url=base, **settings)
    return Agent(config, load_model("openai:tiny", config), PagesStore(), WordEmbedder())


def test_the_agent_streams_from_an_openai_compatible_endpoint(endpoint):
    events = list(make_agent(endpoint).stream(QUESTION))
    answer = events[-1].answer
    assert sum(isinstance(event, Token) for event in events) > 3
    assert answer.usage.answer_tokens == 16
    assert answer.usage.prompt_tokens > 500
    assert any("maximum length" in notice for notice in answer.notices)


def test_temperature_zero_repeats_itself(endpoint):
    agent = make_agent(endpoint)
    greedy = Sampling(temperature=0, max_tokens=8)
    assert agent.ask(QUESTION, sampling=greedy).text == agent.ask(QUESTION, sampling=greedy).text


def test_a_cancel_ends_the_stream_and_frees_the_server(endpoint):
    agent, cancel, after = make_agent(endpoint, max_tokens=2000), threading.Event(), 0
    for event in agent.stream(QUESTION, cancel=cancel):
        if isinstance(event, Token):
            after += cancel.is_set()
            cancel.set()
        if isinstance(event, Done):
            assert event.answer.interrupted == "stopped"
    assert after <= 1
    # one token may be an answer that says nothing, which is asked for once more
    assert make_agent(endpoint, max_tokens=1).ask(QUESTION).usage.answer_tokens in (1, 2)


def test_an_endpoint_that_does_not_answer_is_named():
    with pytest.raises(ModelUnreachable, match=r"127\.0\.0\.1:9/v1 does not answer"):
        make_agent("http://127.0.0.1:9/v1").ask(QUESTION)


def test_without_address_and_key_nothing_is_sent(monkeypatch):
    with pytest.raises(UsageError, match="OPENAI_BASE_URL"):
        load_model("openai:gpt", AssistantConfig())


@pytest.mark.parametrize("base", ["127.0.0.1:8000/v1", "ftp://box/v1", "http://"])
def test_an_invalid_address_is_refused_before_anything_is_sent(base):
    with pytest.raises(UsageError, match="OPENAI_BASE_URL is"):
        load_model("openai:gpt", AssistantConfig(openai_base_url=base))


def test_a_remote_endpoint_is_named_in_a_notice():
    model = load_model("openai:gpt", AssistantConfig(openai_base_url="https://models.example/v1"))
    assert "are sent to https://models.example/v1" in model.notices[0]
    assert load_model("openai:gpt", AssistantConfig(openai_base_url="http://localhost:8000/v1")).notices == ()


def test_every_error_of_the_openai_client_is_translated():
    import httpx
    import openai

    request = httpx.Request("POST", "http://h/v1")
    kinds = {
        kind
        for kind in list(vars(openai).values())
        if isinstance(kind, type) and kind.__init__ is openai.APIStatusError.__init__
    }
    assert len(kinds) >= 7
    for kind in kinds:
        found = explain(kind("message", response=httpx.Response(400, request=request), body=None), "http://h")
        assert isinstance(found, ModelError)
        assert found.hint
    assert isinstance(explain(openai.APIConnectionError(request=request), "http://h"), ModelUnreachable)
    assert explain(KeyError("a bug"), "http://h") is None


def serve(body: bytes, kind: str):
    """Answer every request with these bytes; returns the server and its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}/v1"


def event(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": finish}
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"data: <html>\n\n"])
def test_a_server_that_is_not_a_chat_endpoint_gets_a_clear_error(body):
    server, base = serve(body, "text/event-stream")
    try:
        with pytest.raises(ModelError, match="did not respond like a chat model"):
            make_agent(base).ask(QUESTION)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("body", "interrupted", "notice"),
    [
        (event("It is 5 [1]."), True, "was cut off"),
        (event("It is 5 [1].") + event("", "stop") + b"data: [DONE]\n\n", False, ""),
        (event("") + event("", "stop") + b"data: [DONE]\n\n", False, "wrote nothing"),
    ],
)
def test_a_stream_without_its_end_differs_from_a_complete_one_and_from_silence(body, interrupted, notice):
    server, base = serve(body, "text/event-stream")
    try:
        answer = make_agent(base).ask(QUESTION)
    finally:
        server.shutdown()
        server.server_close()
    assert bool(answer.interrupted) is interrupted
    assert notice in " ".join(answer.notices)
    assert bool(answer.notices) is bool(notice)


def test_every_error_of_httpx_is_translated():
    import httpx

    from assistant.llm.ollama import explain as explain_ollama

    kinds = [kind for kind in vars(httpx).values() if isinstance(kind, type) and issubclass(kind, httpx.TransportError)]
    assert len(kinds) >= 15
    for kind in kinds:
        for say in (explain, explain_ollama):
            assert isinstance(say(kind("message"), "http://h"), AssistantError)

import json
import stat
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from assistant.config import AssistantConfig
from assistant.conversations import log
from tests.assistant.helpers import make_agent, scripted


def an_answer():
    return make_agent(scripted("Its diameter is 3,474 kilometres [1].")).ask("What is the diameter of the moon?")


def test_the_log_is_off_by_default():
    assert AssistantConfig().conversation_log == ""
    assert log.log_notice(AssistantConfig()) == ""
    assert log.log_turn(AssistantConfig(), an_answer()) == ""


def test_each_turn_is_one_line_of_a_file_that_only_its_owner_can_read(tmp_path):
    path = tmp_path / "deep" / "log.jsonl"
    config = AssistantConfig(conversation_log=str(path))
    assert log.log_turn(config, an_answer()) == log.log_turn(config, an_answer()) == ""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["question"] for line in lines] == ["What is the diameter of the moon?"] * 2
    assert lines[0]["sources"] == [{"document": "moon.pdf", "page": 1}]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert str(path) in log.log_notice(config)


def test_a_redacted_log_has_no_word_of_the_turn(tmp_path):
    path = tmp_path / "log.jsonl"
    log.log_turn(AssistantConfig(conversation_log=str(path), conversation_log_redact=True), an_answer())
    text = path.read_text().lower()
    assert json.loads(text)["citations"] == 1
    assert not [word for word in ("moon", "diameter", "3,474", "kilometres") if word in text]


def test_an_address_gets_one_post_a_turn():
    got = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        config = AssistantConfig(conversation_log=f"http://127.0.0.1:{server.server_port}/turns")
        assert log.log_turn(config, an_answer()) == ""
    finally:
        server.shutdown()
        server.server_close()
    assert [entry["answer"] for entry in got] == ["Its diameter is 3,474 kilometres [1]."]


def test_a_log_that_cannot_be_written_is_reported_and_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    assert "could not be written" in log.log_turn(
        AssistantConfig(conversation_log=str(tmp_path / "file" / "log")), an_answer()
    )
    assert "could not be written" in log.log_turn(AssistantConfig(conversation_log="http://127.0.0.1:9/x"), an_answer())

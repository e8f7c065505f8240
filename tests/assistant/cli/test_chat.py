import json
import os
import select
import signal
import subprocess
import sys
import time

import pytest

from assistant.cli import main
from assistant.conversations.history import History


def test_a_conversation_is_stored_listed_resumed_exported_and_deleted(home, capsys, type_lines, tmp_path):
    type_lines(
        "How long does the warranty last?",
        "/sources",
        "/model",
        "/doc pump",
        "/nonsense",
        "/doc",
        "yes",
        "/quit",
    )
    assert main(["chat"]) == 0
    out, err = capsys.readouterr()
    assert "24 months" in out
    assert "quotes answers" in out
    assert "there is no command /nonsense" in err
    (kept,) = History(home).conversations()
    assert (kept.title, kept.turns) == ("How long does the warranty last?", 2)
    assert main(["chat", "--list"]) == 0
    assert kept.id[:8] in capsys.readouterr().out
    assert main(["chat", "--list", "--json"]) == 0
    assert [c["id"] for c in json.loads(capsys.readouterr().out)["conversations"]] == [kept.id]
    type_lines("/save " + str(tmp_path / "talk.md"))
    assert main(["chat", "--resume", kept.id[:6]]) == 0
    assert "24 months" in (tmp_path / "talk.md").read_text()
    assert main(["chat", "--export", kept.id, str(tmp_path / "talk.json")]) == 0
    assert len(json.loads((tmp_path / "talk.json").read_text())["turns"]) == 2
    assert main(["chat", "--rename", kept.id, "Pump"]) == 0
    capsys.readouterr()
    assert main(["chat", "--delete", kept.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"deleted": kept.id}
    assert History(home).conversations() == []


def test_a_chat_with_no_keep_writes_nothing(home, type_lines, capsys, tmp_path):
    before = len(History(home).conversations())
    type_lines("How long does the warranty last?", f"/save {tmp_path / 'talk.json'}")
    assert main(["chat", "--no-keep"]) == 0
    assert len(History(home).conversations()) == before
    assert json.loads((tmp_path / "talk.json").read_text())["turns"][0]["citations"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_control_c_at_the_prompt_does_not_end_the_conversation(home):
    # a test run in the background inherits that interrupts are ignored
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from assistant.cli import main; sys.exit(main(['chat', '--no-keep']))"
    )
    import pty  # not on Windows

    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs)

    def until(text: bytes, sent: signal.Signals | None = None) -> None:
        seen, end = b"", time.monotonic() + 30
        while text not in seen:
            assert time.monotonic() < end, seen
            if sent:  # again and again: one that comes before readline waits for a key is not seen before the next key
                process.send_signal(sent)
            if select.select([ours], [], [], 0.3)[0]:
                seen += os.read(ours, 65536)

    try:
        until(b"\n> ")
        until(b"Ctrl-D", signal.SIGINT)
        os.write(ours, b"How long does the warranty last?\n")
        until(b"24 months")
        os.write(ours, b"/quit\n")
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def test_an_empty_list_of_conversations_is_reported(home, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("QUIRE_HOME", str(tmp_path))
    assert main(["chat", "--list"]) == 0
    assert "no conversation is stored yet" in capsys.readouterr().err

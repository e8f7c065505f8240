import json
import os
import select
import signal
import subprocess
import sys
import time

import pytest
from fpdf import FPDF

from assistant.answering.prompt import REFUSAL
from assistant.cli import _PARSERS, COMMANDS, clean, main
from assistant.conversations.history import History

PAGES = [
    "The warranty of the pump lasts 24 months. It covers the motor and the housing.",
    "Cleaning: rinse the filter with cold water every week. Never use soap.",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    pdf = FPDF()
    pdf.set_font("Helvetica", size=12)
    for text in PAGES:
        pdf.add_page()
        pdf.multi_cell(0, 8, text)
    pdf.output(str(home / "pump.pdf"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUIRE_HOME", str(home))
        from ingest.cli import main as ingest_main

        assert ingest_main(["ingest", str(home / "pump.pdf")]) == 0
    return home


@pytest.fixture(autouse=True)
def settings(monkeypatch, request):
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    if "home" in request.fixturenames:
        monkeypatch.setenv("QUIRE_HOME", str(request.getfixturevalue("home")))
        monkeypatch.setenv("QUIRE_MODEL", "quotes")


def test_every_command_has_a_parser_and_help_that_ends_with_examples(capsys):
    assert set(_PARSERS) == set(COMMANDS)
    for name in COMMANDS:
        with pytest.raises(SystemExit) as end:
            main([name, "--help"])
        assert end.value.code == 0
        assert f"quire {name}" in capsys.readouterr().out.split("examples:")[1]


def test_search_prints_the_agreed_json(home, capsys):
    assert main(["search", "how long does the warranty last?", "-k", "1", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert set(shown) == {"question", "library", "passages"}
    (passage,) = shown["passages"]
    assert {"rank", "document", "page", "score", "text", "chunk_id"} <= set(passage)
    assert (passage["rank"], passage["document"], passage["page"]) == (1, "pump.pdf", 1)
    assert "24 months" in passage["text"]
    assert 0 < passage["score"] <= 1


def test_ask_quotes_with_its_page_and_prints_the_agreed_json(home, capsys):
    assert main(["ask", "How long does the warranty last?", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    wanted = {"question", "answer", "refused", "mode", "model", "citations", "passages", "notices", "usage"}
    assert wanted <= set(shown)
    assert {"prompt_tokens", "evidence_tokens", "dropped_passages", "seconds"} <= set(shown["usage"])
    assert (shown["mode"], shown["refused"]) == ("quotes", False)
    assert shown["citations"][0]["document"] == "pump.pdf"
    assert shown["citations"][0]["page"] == 1
    assert "24 months" in shown["citations"][0]["quote"]


def test_ask_prints_answer_to_stdout_and_the_label_to_stderr(home, capsys):
    assert main(["ask", "How often is the filter rinsed?"]) == 0
    out, err = capsys.readouterr()
    assert "rinse the filter with cold water every week" in out
    assert "pump.pdf, page 2" in out
    assert "excerpts" in err


def test_a_refusal_is_an_answer(home, capsys):
    assert main(["ask", "Who won the football world cup in 1998?", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["refused"], shown["answer"], shown["citations"]) == (True, REFUSAL, [])


def test_the_operators_log_gets_the_turn_and_the_person_is_told(home, capsys, tmp_path, monkeypatch):
    (tmp_path / "quire.toml").write_text(f'[assistant]\nconversation_log = "{tmp_path / "turns.jsonl"}"\n')
    monkeypatch.chdir(tmp_path)
    assert main(["ask", "How long does the warranty last?"]) == 0
    assert "keeps questions and answers of every turn" in capsys.readouterr().err
    (line,) = (tmp_path / "turns.jsonl").read_text().splitlines()
    assert json.loads(line)["sources"][0] == {"document": "pump.pdf", "page": 1}


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["ask", "warranty?", "--temperature", "1.5"], 2, "use a value from 0 to 1"),
        (["ask", "  "], 2, "the question is empty"),
        (["ask", "warranty?", "--document", "gone.pdf"], 1, "no document 'gone.pdf'"),
        (["ask", "warranty?", "--library", "gone"], 1, "gone"),
        (["ask", "warranty?", "--model", "gguf:/gone.gguf"], 1, "there is no file /gone.gguf"),
        (["ask", "warranty?", "--no-documents"], 2, "without documents"),
        (["eval", "retrieval", "/gone.jsonl"], 1, "cannot read /gone.jsonl"),
        (["chat", "--resume", "nothere"], 1, "--list"),
        (["feedback", "export", "--out", "/gone/x"], 2, "cannot write /gone/x"),
        (["chat", "--json"], 2, "quire ask"),
    ],
)
def test_an_error_names_what_was_wrong_and_the_way_out(home, capsys, argv, code, message):
    assert main(argv) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert message in err
    assert "fix: " in err


def test_a_conversation_is_kept_listed_resumed_exported_and_deleted(home, capsys, monkeypatch, tmp_path):
    say(
        monkeypatch,
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
    say(monkeypatch, "/save " + str(tmp_path / "talk.md"))
    assert main(["chat", "--resume", kept.id[:6]]) == 0
    assert "24 months" in (tmp_path / "talk.md").read_text()
    assert main(["chat", "--export", kept.id, str(tmp_path / "talk.json")]) == 0
    assert len(json.loads((tmp_path / "talk.json").read_text())["turns"]) == 2
    assert main(["chat", "--rename", kept.id, "Pump"]) == 0
    capsys.readouterr()
    assert main(["chat", "--delete", kept.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"deleted": kept.id}
    assert History(home).conversations() == []


def test_a_chat_that_keeps_nothing_writes_nothing(home, monkeypatch, capsys, tmp_path):
    before = len(History(home).conversations())
    say(monkeypatch, "How long does the warranty last?", f"/save {tmp_path / 'talk.json'}")
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


def test_an_empty_list_of_conversations_is_said(home, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("QUIRE_HOME", str(tmp_path))
    assert main(["chat", "--list"]) == 0
    assert "no conversation is kept yet" in capsys.readouterr().err


def test_models_lists_quotes_and_says_what_was_tried(home, capsys):
    assert main(["models"]) == 0
    out, err = capsys.readouterr()
    assert "* quotes" in out
    assert "127.0.0.1:9" in err


def test_feedback_is_exported_as_lines(home, capsys):
    assert main(["feedback", "export", "--format", "kto"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["feedback", "export", "--format", "kto", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"format": "kto", "count": 0, "thumbs": 0, "out": None, "rows": []}
    assert err == ""


def test_the_yardstick_runs_over_a_folder(home, capsys, tmp_path):
    folder = tmp_path / "pdfs"
    folder.mkdir()
    for name in ("pump.pdf", "other.pdf"):
        pdf = FPDF()
        pdf.set_font("Helvetica", size=12)
        for text in PAGES if name == "pump.pdf" else ["Bananas are yellow and grow in the tropics."]:
            pdf.add_page()
            pdf.multi_cell(0, 8, text)
        pdf.output(str(folder / name))
    questions = tmp_path / "q.jsonl"
    rows = [
        {
            "id": "a",
            "document": "pump.pdf",
            "question": "How long does the warranty last?",
            "answer": "24 months",
            "evidence": [{"page": 1}],
        },
        {
            "id": "b",
            "document": "pump.pdf",
            "question": "How is the filter cleaned?",
            "answer": "water",
            "evidence": [{"page": 2}],
        },
    ]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for scope in ("single", "shared"):
        assert main(["eval", "retrieval", str(questions), "--pdfs", str(folder), "--scope", scope, "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert {"questions", "scope", "store", "embedder", "hit", "mrr", "seconds"} <= set(shown)
        assert (shown["questions"], shown["scope"], shown["store"], shown["hit"]["1"]) == (2, scope, "sqlite", 1.0)
    assert (
        main(["eval", "answers", str(questions), "--pdfs", str(folder), "--json", "--out", str(tmp_path / "run")]) == 0
    )
    shown = json.loads(capsys.readouterr().out)
    assert shown["scores"]["citations_prompted"]["mean"] == shown["scores"]["quotes_verbatim"]["mean"] == 1.0
    assert shown["threshold"]["right_refusals"] == 1.0
    assert (tmp_path / "run" / "report.html").read_text().startswith("<!doctype html>")
    assert main(["eval", "compare", str(tmp_path / "run"), str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"]["cited_page"]["mean"] == 0


def test_text_cannot_steer_the_terminal():
    assert clean("a\x1b[31mb\x07\nc\td") == "a\ufffd[31mb\ufffd\nc\td"


def test_importing_the_commands_is_cheap():
    heavy = "langchain|langchain_core|numpy|httpx|onnxruntime|torch|transformers|pypdfium2"
    code = f"import assistant.cli, sys; print([m for m in '{heavy}'.split('|') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def say(monkeypatch, *lines):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


@pytest.mark.parametrize("command", ["search", "ask"])
def test_an_empty_question_is_refused_with_the_right_way(home, capsys, command):
    assert main([command, "  "]) == 2
    assert f'quire {command} "What is' in capsys.readouterr().err


@pytest.mark.parametrize("command", ["search", "ask"])
def test_a_question_that_is_not_utf8_is_answered_all_the_same(home, capsys, command):
    assert main([command, "how long does the warranty \udcff last?", "--json"]) == 0
    assert "24 months" in capsys.readouterr().out

import subprocess
import sys

import pytest

from assistant.cli import COMMANDS, main


def test_every_command_has_a_parser_and_help_that_ends_with_examples(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit) as end:
            main([name, "--help"])
        assert end.value.code == 0
        assert f"quire {name}" in capsys.readouterr().out.split("examples:")[1]


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["ask", "warranty?", "--temperature", "1.5"], 2, "use a value from 0 to 1"),
        (["ask", "  "], 2, "the question is empty"),
        (["ask", "warranty?", "--document", "gone.pdf"], 1, "no document 'gone.pdf'"),
        (["ask", "warranty?", "--library", "gone"], 1, "gone"),
        (["ask", "warranty?", "--model", "gguf:/gone.gguf"], 1, "there is no file /gone.gguf"),
        (["ask", "warranty?", "--no-documents"], 2, "--no-documents needs"),
        (["eval", "retrieval", "/gone.jsonl"], 1, "cannot read /gone.jsonl"),
        (["eval", "answers", "/gone.jsonl", "--judge", "quotes"], 2, "quotes cannot judge"),
        (["chat", "--resume", "nothere"], 1, "--list"),
        (["feedback", "export", "--out", "/gone/x"], 2, "cannot write /gone/x"),
        (["chat", "--json"], 2, "quire ask"),
    ],
)
def test_an_error_names_the_problem_and_the_fix(home, capsys, argv, code, message):
    assert main(argv) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert message in err
    assert "fix: " in err


def test_importing_the_commands_is_cheap():
    heavy = "langchain|langchain_core|numpy|httpx|onnxruntime|torch|transformers|pypdfium2"
    code = f"import sys, assistant.cli as c; [c.build_parser(name) for name in c.COMMANDS]; print([m for m in '{heavy}'.split('|') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("command", ["search", "ask"])
def test_an_empty_question_is_refused_with_an_example(home, capsys, command):
    assert main([command, "  "]) == 2
    assert f'quire {command} "What is' in capsys.readouterr().err


@pytest.mark.parametrize("command", ["search", "ask"])
def test_a_question_that_is_not_utf8_is_answered(home, capsys, command):
    assert main([command, "how long does the warranty \udcff last?", "--json"]) == 0
    assert "24 months" in capsys.readouterr().out

"""The command: every name leads somewhere, help is quick, errors are short."""

import argparse
import importlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from quire import cli as quire

ROOT = Path(__file__).parents[2]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "quire", *words], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("command", quire.COMMANDS)
def test_every_command_has_help_with_examples(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0, done.stderr
    assert f"quire {command}" in done.stdout


@pytest.mark.parametrize("command", quire.COMMANDS)
def test_every_command_lives_in_a_module_with_main(command: str) -> None:
    assert callable(importlib.import_module(quire.COMMANDS[command][0]).main)


def parsers(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """A command's parser, or those of the commands under it, each with its whole name."""
    under = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not under or parser.get_default("run"):
        yield name, parser
    for action in under:
        for word, one in action.choices.items():
            yield from parsers(one, f"{name} {word}")


def test_every_command_that_gives_a_result_gives_it_as_json() -> None:
    found = {}
    for command, (home, _) in quire.COMMANDS.items():
        module = importlib.import_module(home)
        if hasattr(module, "COMMANDS"):
            found |= parsers(module.build_parser(command), command)
        elif command == "finetune":
            found |= parsers(module.parser(), command)
    assert len(found) > 30
    without = {name for name, parser in found.items() if "--json" not in parser._option_string_actions}
    assert without == {"finetune chat"}, "a conversation is no JSON object"


def test_help_answers_in_half_a_second() -> None:
    times = []
    for _ in range(3):
        started = time.perf_counter()
        done = run("--help")
        times.append(time.perf_counter() - started)
        assert done.returncode == 0
    assert min(times) < 0.5


def test_an_unknown_command_is_wrong_usage() -> None:
    done = run("frobnicate")
    assert done.returncode == 2
    assert "there is no command 'frobnicate'" in done.stderr
    assert done.stdout == ""


def test_no_command_is_wrong_usage_and_shows_them_all() -> None:
    done = run()
    assert done.returncode == 2
    assert all(name in done.stdout for name in quire.COMMANDS)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_cannot_be_written_is_one_clear_line() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "quire", "models", "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: writing the output: No space left on device\n")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell that closes streams")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["chat --no-keep", "ingest absent.pdf", "libraries"])
def test_closed_streams_do_no_harm(tmp_path: Path, closed: str, words: str) -> None:
    from tests.documents import write_facts

    environ = {**os.environ, "QUIRE_HOME": str(tmp_path / "home"), "QUIRE_MODEL": "quotes"}
    write_facts(tmp_path / "pdfs")
    quire = [sys.executable, "-m", "quire"]
    if "chat" in words:
        subprocess.run([*quire, "ingest", tmp_path / "pdfs"], env=environ, cwd=ROOT, check=True, capture_output=True)
    line = f"{shlex.join(quire)} {words} {closed}"
    done = subprocess.run(
        ["sh", "-c", line], stdin=subprocess.DEVNULL, capture_output=True, env=environ, cwd=ROOT, text=True
    )
    assert done.returncode == ("absent" in words)
    assert "Traceback" not in done.stdout + done.stderr


def test_a_terminal_without_unicode_shows_question_marks_and_json_stays_utf8(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "QUIRE_HOME": str(tmp_path), "OLLAMA_HOST": "127.0.0.1:9"}

    def said(*words: str) -> bytes:
        command = [sys.executable, "-m", "quire", *words]
        return subprocess.run(command, capture_output=True, cwd=ROOT, env=environ, check=False).stderr

    assert b"What is ?" in said("ask", "")
    assert "What is …?".encode() in said("ask", "", "--json")

"""`chat` streams, remembers, forgets the oldest turns when its window is full, and can be interrupted."""

import io
import signal
from typing import Any

import pytest

from finetune.cli import main
from tests.finetune.passes import forward_passes

DEVICE = ["--device", "cpu"]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Type lines into the command."""
    return lambda *lines: monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_chat_remembers_and_ends_with_the_input(world: Any, typed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    typed("What does the dog say?", "What does the cow say?")
    with forward_passes() as passes:
        assert main(["chat", "taught", "--max-new-tokens", "12", *DEVICE]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "The dog says woof." and len(lines) >= 2
    prompts = [length for length in passes if length > 1]
    assert prompts[1] > 2 * prompts[0]  # the second prompt has the first question and its answer


def test_tokens_are_printed_as_they_come(world: Any, typed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[int, str]] = []

    class Screen(io.StringIO):
        def write(self, text: str) -> int:
            written.append((len(passes), text))
            return super().write(text)

    monkeypatch.setattr("sys.stdout", Screen())
    typed("What does the dog say?")
    with forward_passes() as passes:
        assert main(["chat", "taught", *DEVICE]) == 0
    assert "".join(text for _, text in written) == "The dog says woof.\n"
    assert written[0][0] <= 2  # the first piece while the model was still computing


def test_ctrl_c_stops_the_answer_and_keeps_the_conversation(
    world: Any, typed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("What does the dog say?", "What does the cow say?")
    at_interrupt: list[int] = []

    def interrupt(number: int) -> None:
        if number == 2:
            at_interrupt.append(number)
            signal.raise_signal(signal.SIGINT)

    with forward_passes(interrupt) as passes:
        assert main(["chat", "taught", "--max-new-tokens", "12", *DEVICE]) == 0
    captured = capsys.readouterr()
    assert "stopped after 2 tokens" in captured.err
    first, second = [index for index, length in enumerate(passes) if length > 1]
    assert second - first == 2  # no pass after the one in progress
    assert passes[second] > passes[first]  # what was written stays in the conversation
    assert len(captured.out.splitlines()) >= 2


def test_a_second_ctrl_c_ends_the_command(world: Any, typed: Any) -> None:
    typed("What does the dog say?", "What does the cow say?")

    def interrupt(number: int) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), forward_passes(interrupt):
        main(["chat", "taught", *DEVICE])
    assert signal.getsignal(signal.SIGINT) is before


def test_a_full_window_drops_the_oldest_messages_with_a_notice(
    world: Any, typed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("What does the dog say? " * 60, "What does the cow say? " * 60)
    assert main(["chat", "taught", "--max-new-tokens", "1500", "--system", "Be brief.", *DEVICE]) == 0
    assert "2 messages dropped from the start" in capsys.readouterr().err


def test_a_message_that_never_fits_does_not_end_the_conversation(
    world: Any, typed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("What does the dog say? " * 400, "What does the cow say?")
    assert main(["chat", "taught", "--max-new-tokens", "100", *DEVICE]) == 0
    captured = capsys.readouterr()
    assert "shorten the message" in captured.err
    assert captured.out == "The cow says moo.\n"

"""A conversation at the terminal: lines in, answers with their sources out."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.answering.agent import Agent
from assistant.answering.answer import Answer
from assistant.cli.opening import load_or_pull
from assistant.cli.terminal import clean, print_notes, print_passages, print_sources, print_stream
from assistant.config import AssistantConfig
from assistant.conversations.history import Conversation, History, Turn
from assistant.conversations.log import log_turn
from assistant.conversations.transcript import export_conversation
from quire import QuireError, UsageError

if TYPE_CHECKING:
    from ingest import Library

HELP = """/doc NAME     ask only this document; /doc alone asks all documents
/model NAME   switch to another model; /model alone shows the current one
/sources      show the passages of the last answer
/save FILE    write the conversation as Markdown, or as JSON to a .json file
/new          start another conversation
/help         show this list
/quit         leave (or Ctrl-D); Ctrl-C stops an answer"""


@dataclass
class ChatSession:
    """One conversation at a terminal; nothing is stored if `history` is None."""

    config: AssistantConfig
    agent: Agent
    library: Library | None
    history: History | None = None
    pull: bool = False  # download a missing Ollama model named by /model
    conversation_id: str | None = None
    answers: list[Answer] = field(default_factory=list)
    documents: list[str] | None = None

    def resume(self, conversation_id: str, turns: Sequence[Turn]) -> None:
        """Continue a stored conversation, and print its turns."""
        self.conversation_id = conversation_id
        self.answers = [turn.answer for turn in turns]
        for answer in self.answers:
            print(f"> {clean(answer.question)}\n{clean(answer.text)}\n")

    def run(self, lines: Iterator[str]) -> None:
        """Answer each line, or run it if it begins with /, until the lines end."""
        for line in lines:
            text = line.strip()
            if not text:
                continue
            if text in ("/quit", "/exit"):
                break
            try:
                if text.startswith("/"):
                    self._command(text)
                else:
                    self._ask(text)
            except QuireError as exc:
                print(f"error: {clean(str(exc))}", file=sys.stderr)

    def _ask(self, question: str) -> None:
        with _interrupt_cancels() as cancel:
            answer = print_stream(
                self.agent.stream(
                    question,
                    documents=self.documents,
                    history=self.answers,
                    use_documents=self.library is not None,
                    cancel=cancel,
                )
            )
        print_sources(answer)
        print()
        self.answers.append(answer)
        print_notes(log_turn(self.config, answer))
        if self.history is not None:
            if self.conversation_id is None:
                self.conversation_id = self.history.start(self._library_name())
            self.history.add(self.conversation_id, answer)

    def _command(self, text: str) -> None:
        name, _, argument = text.partition(" ")
        commands: dict[str, Callable[[str], None]] = {
            "/doc": self._select_document,
            "/model": self._select_model,
            "/sources": self._show_sources,
            "/save": self._save,
            "/new": self._start_new,
            "/help": lambda _: print(HELP),
        }
        if name not in commands:
            raise UsageError(f"there is no command {name}", "/help lists the commands")
        commands[name](argument.strip())

    def _select_document(self, name: str) -> None:
        if self.library is None:
            raise UsageError("this chat searches no documents", "start it without --no-documents")
        self.documents = self.library.document_ids([name]) if name else None
        print(f"asking {clean(name) if name else 'all documents'}")

    def _select_model(self, name: str) -> None:
        if name:
            self.agent.model = load_or_pull(name, self.config, pull=self.pull)
        print(f"{clean(self.agent.model.name)} answers, with a context window of {self.agent.model.window} tokens")

    def _show_sources(self, _: str) -> None:
        if self.answers and self.answers[-1].passages:
            print_passages(self.answers[-1].passages)
        else:
            print("there are no passages yet")

    def _save(self, name: str) -> None:
        if not name:
            raise UsageError("/save needs a file name", "/save conversation.md, or /save conversation.json")
        if not self.answers:
            raise UsageError("the conversation is empty", "ask something first")
        path = Path(name).expanduser()
        if path.exists():
            raise UsageError(f"{path} already exists", "choose another name")
        export_conversation(*self._conversation(), path)
        print(f"saved to {path}")

    def _conversation(self) -> tuple[Conversation, list[Turn]]:
        if self.history is not None and self.conversation_id is not None:
            return self.history.conversation(self.conversation_id), self.history.turns(self.conversation_id)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        turns = [Turn(str(n), n, now, answer) for n, answer in enumerate(self.answers)]
        return Conversation("", self.answers[0].question, self._library_name(), now, now, len(turns)), turns

    def _start_new(self, _: str) -> None:
        self.conversation_id, self.answers = None, []
        print("a new conversation")

    def _library_name(self) -> str:
        return self.library.name if self.library else ""


@contextmanager
def _interrupt_cancels() -> Iterator[threading.Event]:
    """Let Ctrl-C stop the answer instead of the conversation."""
    cancel = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield cancel
        return
    before = signal.signal(signal.SIGINT, lambda *_: cancel.set())
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, before)

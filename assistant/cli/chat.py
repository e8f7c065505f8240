"""The conversation at the terminal: reads lines, runs the agent, prints the stream and the sources."""

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

from assistant.answering.agent import Agent, Answer, Done, Notice, Token
from assistant.config import AssistantConfig
from assistant.conversations import log
from assistant.conversations.history import Conversation, History, Turn, as_json, as_markdown
from assistant.errors import AssistantError
from quire import QuireError, UsageError

if TYPE_CHECKING:
    from assistant.llm import Model
    from ingest import Library

HELP = """/doc NAME     ask only this document; /doc alone asks all again
/model NAME   answer with another model; /model alone tells which one answers
/sources      the passages of the last answer
/save FILE    write the conversation as Markdown, or as JSON where FILE ends in .json
/new          begin another conversation
/help         this list
/quit         leave (or Ctrl-D); Ctrl-C stops an answer"""


@dataclass
class Chat:
    """One conversation at a terminal; `history` is None where nothing is kept."""

    config: AssistantConfig
    agent: Agent
    library: Library | None
    load: Callable[[str], Model]
    show: Callable[[str], str]  # takes what could steer the terminal out of a text
    print_sources: Callable[[Answer], None]
    source_line: Callable[..., str]
    history: History | None = None
    conversation: str | None = None
    answers: list[Answer] = field(default_factory=list)
    documents: list[str] | None = None

    def run(self, lines: Iterator[str]) -> int:
        """Answer line after line until they end; returns the exit code."""
        for line in lines:
            text = line.strip()
            if not text:
                continue
            if text in ("/quit", "/exit"):
                break
            try:
                if text.startswith("/"):
                    self.command(text)
                else:
                    self.turn(text)
            except QuireError as exc:
                print(f"error: {self.show(str(exc))}", file=sys.stderr)
        return 0

    def turn(self, question: str) -> Answer:
        """Ask one question, print the answer as it comes, and keep it."""
        answer: Answer | None = None
        begun = False
        with _interrupt_cancels() as cancel:
            for event in self.agent.stream(
                question,
                documents=self.documents,
                history=self.answers,
                use_documents=self.library is not None,
                cancel=cancel,
            ):
                if isinstance(event, Token):
                    print(self.show(event.text), end="", flush=True)
                    begun = True
                elif isinstance(event, Notice):
                    if begun:
                        print(flush=True)  # the answer's line ends before a note begins
                        begun = False
                    print(f"note: {self.show(event.text)}", file=sys.stderr, flush=True)
                elif isinstance(event, Done):
                    answer = event.answer
        if answer is None:
            raise AssistantError("the answer ended without a result", "this is a bug: please report it")
        self.print_sources(answer)
        print()
        self._keep(answer)
        return answer

    def command(self, text: str) -> None:
        """Do what a line that begins with / says; raises UsageError for an unknown one."""
        name, _, rest = text.partition(" ")
        rest = rest.strip()
        commands: dict[str, Callable[[str], None]] = {
            "/doc": self._doc,
            "/model": self._model,
            "/sources": self._sources,
            "/save": self._save,
            "/new": self._new,
            "/help": lambda _: print(HELP),
        }
        if name not in commands:
            raise UsageError(f"there is no command {name}", "/help lists them")
        commands[name](rest)

    def _keep(self, answer: Answer) -> None:
        self.answers.append(answer)
        problem = log.log_turn(self.config, answer)
        if problem:
            print(f"note: {self.show(problem)}", file=sys.stderr)
        if self.history is not None:
            if self.conversation is None:
                self.conversation = self.history.start(self.library.name if self.library else "")
            self.history.add(self.conversation, answer)

    def _doc(self, name: str) -> None:
        if self.library is None:
            raise UsageError("this chat asks no documents", "start it without --no-documents")
        self.documents = self.library.document_ids([name]) if name else None
        print(f"asking {self.show(name) if name else 'all documents'}")

    def _model(self, name: str) -> None:
        if name:
            self.agent.model = self.load(name)
        print(f"{self.show(self.agent.model.name)} answers, with a window of {self.agent.model.window} tokens")

    def _sources(self, _: str) -> None:
        if not self.answers or not self.answers[-1].passages:
            print("there are no passages yet")
            return
        for passage in self.answers[-1].passages:
            print(f"{self.source_line(passage.rank, passage)}  score {passage.score:.2f}\n{self.show(passage.text)}\n")

    def _save(self, name: str) -> None:
        if not name:
            raise UsageError("/save needs a file", "/save talk.md, or /save talk.json")
        if not self.answers:
            raise UsageError("nothing was said yet", "ask something first")
        path = Path(name).expanduser()
        if path.exists():
            raise UsageError(f"{path} is there already", "choose another name")
        export(*self._as_kept(), path)
        print(f"saved to {path}")

    def _as_kept(self) -> tuple[Conversation, list[Turn]]:
        if self.history is not None and self.conversation is not None:
            return self.history.conversation(self.conversation), self.history.turns(self.conversation)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        library = self.library.name if self.library else ""
        turns = [Turn(str(n), n, now, answer) for n, answer in enumerate(self.answers)]
        return Conversation("", self.answers[0].question, library, now, now, len(turns)), turns

    def _new(self, _: str) -> None:
        self.conversation, self.answers = None, []
        print("a new conversation")


def export(conversation: Conversation, turns: Sequence[Turn], path: Path) -> None:
    """Write a conversation to a file: JSON where its name ends in .json, else Markdown."""
    write = as_json if path.suffix.lower() == ".json" else as_markdown
    try:
        path.write_text(write(conversation, turns), encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}", "choose another place") from exc


@contextmanager
def _interrupt_cancels() -> Iterator[threading.Event]:
    """Let Ctrl-C stop the answer and not the conversation."""
    cancel = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield cancel
        return
    before = signal.signal(signal.SIGINT, lambda *_: cancel.set())
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, before)

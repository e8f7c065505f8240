"""One answer being written in a thread of its own: whoever draws it only looks, and leaving does not end it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from assistant import Agent, Answer, Done, Found, Notice, Token
from quire import QuireError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trouble:
    """Why there is no answer, in plain words, and what to do."""

    message: str
    fix: str = ""


class Generation:
    """A question on its way to its answer; `finished` gets the answer in the generating thread, before `done`."""

    def __init__(
        self, question: str, build: Callable[[], Agent], finished: Callable[[Answer], None], **options: Any
    ) -> None:
        self.question = question
        self.text = ""
        self.notices: list[str] = []
        self.passages: int | None = None  # found so far; None while the library is being searched
        self.answer: Answer | None = None
        self.trouble: Trouble | None = None
        self._cancel = threading.Event()
        self._news = threading.Condition()
        self._version = 0
        self._done = False
        self._thread = threading.Thread(
            target=self._run, args=(build, finished, options), daemon=True, name="generation"
        )
        self._thread.start()

    @property
    def done(self) -> bool:
        """Say whether nothing more will come."""
        return self._done

    @property
    def stopping(self) -> bool:
        """Say whether somebody asked it to stop."""
        return self._cancel.is_set()

    def stop(self) -> None:
        """End generation at the model, also before its first word; what had come is kept."""
        self._cancel.set()

    def wait(self, seen: int, *, seconds: float) -> int:
        """Wait until there is something newer than version `seen`, at most so long, and return the version."""
        with self._news:
            self._news.wait_for(lambda: self._version != seen or self._done, timeout=seconds)
            return self._version

    def _run(self, build: Callable[[], Agent], finished: Callable[[Answer], None], options: dict[str, Any]) -> None:
        started = time.monotonic()
        try:
            # tokens that a closed generator would lose are kept: the agent itself ends once cancel is set
            for event in build().stream(self.question, cancel=self._cancel, **options):
                if isinstance(event, Token):
                    self.text += event.text
                elif isinstance(event, Notice):
                    self.notices.append(event.text)
                elif isinstance(event, Found):
                    self.passages = len(event.passages)
                elif isinstance(event, Done):
                    self.answer = event.answer
                    finished(event.answer)
                self._tell()
        except QuireError as exc:
            self.trouble = Trouble(exc.message, exc.hint)
        except Exception as exc:  # a page shows no stack trace; the log has it
            _log.exception("generation failed after %.1f s", time.monotonic() - started)
            self.trouble = Trouble(f"something went wrong here: {type(exc).__name__}", "the server's log says more")
        finally:
            self._done = True
            self._tell()

    def _tell(self) -> None:
        with self._news:
            self._version += 1
            self._news.notify_all()

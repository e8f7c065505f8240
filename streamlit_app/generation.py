"""An answer that a background thread is generating; closing the page does not end it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from assistant import Agent, Answer, Done, Found, Notice, Token
from quire import QuireError

_log = logging.getLogger(__name__)


class Generation:
    """A question whose answer is being generated; `finished` receives the answer before `done` is true.

    `build` and `finished` are called in the generating thread; `options` go to Agent.stream.
    """

    def __init__(
        self, question: str, build: Callable[[], Agent], finished: Callable[[Answer], None], **options: Any
    ) -> None:
        self.question = question
        self.text = ""
        self.notices: list[str] = []
        self.passages: int | None = None  # how many were found, None while the library is searched
        self.failure: QuireError | None = None
        self._cancel = threading.Event()
        self._changed = threading.Condition()
        self._version = 0
        self._done = False
        threading.Thread(target=self._run, args=(build, finished, options), daemon=True, name="generation").start()

    @property
    def done(self) -> bool:
        """Return whether the answer is complete or failed."""
        return self._done

    @property
    def stopping(self) -> bool:
        """Return whether stop() was called."""
        return self._cancel.is_set()

    def stop(self) -> None:
        """Stop the model, even before its first word; the text so far becomes the answer."""
        self._cancel.set()

    def wait(self, version: int, *, seconds: float) -> int:
        """Wait at most `seconds` for something newer than `version`; return the version reached."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != version or self._done, timeout=seconds)
            return self._version

    def _run(self, build: Callable[[], Agent], finished: Callable[[Answer], None], options: dict[str, Any]) -> None:
        started = time.monotonic()
        try:
            # the loop runs to the end after a stop: closing the generator would lose the text so far
            for event in build().stream(self.question, cancel=self._cancel, **options):
                if isinstance(event, Token):
                    self.text += event.text
                elif isinstance(event, Notice):
                    self.notices.append(event.text)
                elif isinstance(event, Found):
                    self.passages = len(event.passages)
                elif isinstance(event, Done):
                    finished(event.answer)
                self._notify()
        except QuireError as exc:
            self.failure = exc
        except Exception as exc:  # the page shows no stack trace; the log does
            _log.exception("generation failed after %.1f s", time.monotonic() - started)
            self.failure = QuireError(f"unexpected error: {type(exc).__name__}", "see the server's log for details")
        finally:
            self._done = True
            self._notify()

    def _notify(self) -> None:
        with self._changed:
            self._version += 1
            self._changed.notify_all()

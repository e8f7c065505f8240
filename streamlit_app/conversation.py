"""The conversation that is open in a session, saved to the history unless it is private."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from assistant import Answer, Conversation, History, HistoryError, Turn
from streamlit_app.generation import Generation


class OpenConversation:
    """One conversation with its turns; an answer is added to the conversation it was asked in, even if another is open."""

    def __init__(self, library: str, *, saved_id: str = "", turns: list[Turn] | None = None, title: str = "") -> None:
        self.library = library
        self.id = saved_id or uuid.uuid4().hex  # known before the first answer, so that a reload can find it
        self.saved = bool(saved_id)  # whether the history holds it
        self.title = title  # as the user renamed it, "" shows the first question
        self.turns = turns or []
        self.save_error = ""
        self._lock = threading.Lock()

    def add(self, answer: Answer, history: Callable[[], History] | None) -> None:
        """Append a turn and save it, unless `history` is None; called in the generating thread."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._lock:
            turn = Turn(uuid.uuid4().hex, len(self.turns), now, answer)
            if history is not None:
                try:
                    if not self.saved:
                        history().start(self.library, conversation_id=self.id)
                        self.saved = True
                    turn = history().add(self.id, answer)
                    self.save_error = ""
                except HistoryError as exc:
                    self.save_error = str(exc)
            self.turns.append(turn)

    def cut(self, place: int, history: Callable[[], History] | None) -> None:
        """Remove the turns from index `place` on."""
        with self._lock:
            if place < len(self.turns) and history is not None and self.saved:
                history().truncate(self.id, self.turns[place].position)
            del self.turns[place:]

    def export(self) -> tuple[Conversation, list[Turn]]:
        """Return the conversation and its turns in the form that exports take."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        first = self.turns[0] if self.turns else None
        title = self.title or (first.answer.question if first else "")
        created = first.created_at if first else now
        saved_id = self.id if self.saved else ""
        return Conversation(saved_id, title, self.library, created, now, len(self.turns)), self.turns


@dataclass(frozen=True)
class PendingAnswer:
    """An answer that is being generated and its conversation: a reload or another tab continues with both."""

    conversation: OpenConversation
    generation: Generation

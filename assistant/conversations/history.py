"""Conversations and feedback, stored in one SQLite file in the home folder; answers are JSON."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assistant.answering.answer import Answer, Usage
from assistant.answering.citations import Citation, Span
from assistant.answering.prompt import Message
from assistant.config import Sampling
from assistant.errors import ConversationNotFound, HistoryError
from assistant.retrieval.search import Passage
from quire import UsageError

SCHEMA = 1
FILE = "conversations.sqlite"
_MAX_TITLE_CHARACTERS = 80
_LIST_HINT = "`quire chat --list` shows all conversations"
_FILE_HINT = "check that the disk is not full and that no other program uses the file"

_TABLES = """
CREATE TABLE conversations (
    id TEXT PRIMARY KEY, title TEXT NOT NULL, library TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL
) STRICT;
CREATE TABLE turns (
    id TEXT PRIMARY KEY,
    conversation_id TEXT NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    answer TEXT NOT NULL,
    UNIQUE (conversation_id, position)
) STRICT;
CREATE TABLE feedback (
    id TEXT PRIMARY KEY,
    conversation_id TEXT REFERENCES conversations(id) ON DELETE CASCADE,
    turn_id TEXT UNIQUE,
    created_at TEXT NOT NULL,
    thumb INTEGER NOT NULL CHECK (thumb IN (-1, 1)),
    edit TEXT NOT NULL,
    answer TEXT NOT NULL
) STRICT;
"""


@dataclass(frozen=True)
class Conversation:
    """One conversation, without its turns."""

    id: str
    title: str
    library: str
    created_at: str  # ISO 8601, UTC
    updated_at: str
    turns: int  # how many it has


@dataclass(frozen=True)
class Turn:
    """One question with its answer."""

    id: str
    position: int  # 0-based
    created_at: str
    answer: Answer


@dataclass(frozen=True)
class Feedback:
    """A thumb on one answer; `edit` is the corrected answer, "" for none."""

    id: str
    created_at: str
    thumb: int  # 1 up, -1 down
    edit: str
    answer: Answer


class History:
    """The conversations of one home folder; safe to use from several threads and processes."""

    def __init__(self, home: Path) -> None:
        self.path = home / FILE
        self._lock = threading.RLock()
        try:
            home.mkdir(parents=True, exist_ok=True)
            new = not self.path.exists()
            self._db = sqlite3.connect(self.path, timeout=10, check_same_thread=False, isolation_level=None)
            if new:
                self.path.chmod(0o600)  # only the owner may read the questions
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.execute("PRAGMA secure_delete = ON")  # overwrite deleted text in the file
            self._prepare()
        except (OSError, sqlite3.Error) as exc:
            raise HistoryError(
                f"cannot open {self.path}: {exc}",
                "check the folder's permissions, or move the file away; `quire chat --no-keep` works without it",
            ) from exc

    def close(self) -> None:
        """Close the file; calling it twice does nothing."""
        self._db.close()

    # conversations

    def start(self, library: str, *, conversation_id: str = "") -> str:
        """Create a conversation and return its id, a new one if none is given."""
        conversation_id, now = conversation_id or uuid.uuid4().hex, _now()
        with self._change() as db:
            db.execute("INSERT INTO conversations VALUES (?, ?, ?, ?, ?)", (conversation_id, "", library, now, now))
        return conversation_id

    def add(self, conversation_id: str, answer: Answer) -> Turn:
        """Append a turn; a conversation without a title gets this question as its title."""
        turn_id, now = uuid.uuid4().hex, _now()
        with self._change() as db:
            self._check_exists(conversation_id)
            (position,) = db.execute(
                "SELECT coalesce(max(position) + 1, 0) FROM turns WHERE conversation_id = ?", (conversation_id,)
            ).fetchone()
            db.execute(
                "INSERT INTO turns VALUES (?, ?, ?, ?, ?)",
                (turn_id, conversation_id, position, now, answer_to_json(answer)),
            )
            db.execute(
                "UPDATE conversations SET updated_at = ?, title = CASE title WHEN '' THEN ? ELSE title END WHERE id = ?",
                (now, _title(answer.question), conversation_id),
            )
        return Turn(turn_id, position, now, answer)

    def truncate(self, conversation_id: str, position: int) -> None:
        """Delete the turns from `position` on."""
        with self._change() as db:
            self._check_exists(conversation_id)
            db.execute("DELETE FROM turns WHERE conversation_id = ? AND position >= ?", (conversation_id, position))

    def conversations(self) -> list[Conversation]:
        """Return all conversations, the most recently used first."""
        rows = self._read(
            "SELECT c.*, (SELECT count(*) FROM turns t WHERE t.conversation_id = c.id) FROM conversations c"
            " ORDER BY updated_at DESC, id"
        )
        return [Conversation(*row) for row in rows]

    def conversation(self, conversation_id: str) -> Conversation:
        """Return the one conversation whose id begins so; raises ConversationNotFound for none or several."""
        found = [c for c in self.conversations() if conversation_id and c.id.startswith(conversation_id)]
        if len(found) != 1:
            count = f"{len(found)} conversations have" if found else "no conversation has"
            raise ConversationNotFound(f"{count} an id that begins with {conversation_id!r}", _LIST_HINT)
        return found[0]

    def turns(self, conversation_id: str) -> list[Turn]:
        """Return the turns of a conversation in order."""
        self._check_exists(conversation_id)
        rows = self._read(
            "SELECT id, position, created_at, answer FROM turns WHERE conversation_id = ? ORDER BY position",
            (conversation_id,),
        )
        return [
            Turn(turn_id, position, created, answer_from_json(answer)) for turn_id, position, created, answer in rows
        ]

    def rename(self, conversation_id: str, title: str) -> None:
        """Change the title of a conversation; raises UsageError for an empty one."""
        if not title.strip():
            raise UsageError("the title is empty", "write at least one word")
        with self._change() as db:
            self._check_exists(conversation_id)
            db.execute("UPDATE conversations SET title = ? WHERE id = ?", (_title(title), conversation_id))

    def delete(self, conversation_id: str) -> None:
        """Delete a conversation, its turns and its feedback."""
        with self._change() as db:
            self._check_exists(conversation_id)
            db.execute("DELETE FROM conversations WHERE id = ?", (conversation_id,))

    def delete_all(self) -> int:
        """Delete all conversations and feedback, and return how many conversations there were."""
        count = len(self.conversations())
        with self._change() as db:
            db.execute("DELETE FROM conversations")
            db.execute("DELETE FROM feedback")
        return count

    # feedback

    def rate(
        self,
        answer: Answer,
        thumb: int,
        *,
        edit: str = "",
        conversation_id: str | None = None,
        turn_id: str | None = None,
    ) -> None:
        """Store a thumb (1 up, -1 down) and a corrected answer, if any; it replaces an earlier thumb on the turn."""
        if thumb not in (-1, 1):
            raise UsageError(f"thumb is {thumb!r}", "use 1 for up, -1 for down")
        with self._change() as db:
            if turn_id is not None:
                db.execute("DELETE FROM feedback WHERE turn_id = ?", (turn_id,))
            db.execute(
                "INSERT INTO feedback VALUES (?, ?, ?, ?, ?, ?, ?)",
                (uuid.uuid4().hex, conversation_id, turn_id, _now(), thumb, edit.strip(), answer_to_json(answer)),
            )

    def feedback(self) -> list[Feedback]:
        """Return all feedback, oldest first."""
        rows = self._read("SELECT id, created_at, thumb, edit, answer FROM feedback ORDER BY created_at, rowid")
        return [Feedback(i, created, thumb, edit, answer_from_json(answer)) for i, created, thumb, edit, answer in rows]

    # internals

    def _prepare(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA:
            raise HistoryError(
                f"{self.path} has schema version {version}, this version of quire supports {SCHEMA}", "update quire"
            )
        if version == 0:
            with self._change() as db:
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version == 0:  # not created by another process in the meantime
                    for statement in _TABLES.split(";\n"):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version = {SCHEMA}")

    @contextlib.contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
            except sqlite3.Error as exc:
                raise HistoryError(f"{self.path}: {exc}", _FILE_HINT) from exc

    def _read(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            try:
                return self._db.execute(statement, values).fetchall()
            except sqlite3.Error as exc:
                raise HistoryError(f"{self.path}: {exc}", _FILE_HINT) from exc

    def _check_exists(self, conversation_id: str) -> None:
        if not self._read("SELECT 1 FROM conversations WHERE id = ?", (conversation_id,)):
            raise ConversationNotFound(f"there is no conversation {conversation_id!r}", _LIST_HINT)


def answer_to_json(answer: Answer) -> str:
    """Return an answer as JSON text, with all of its fields but the model's raw text, which only evaluation keeps."""
    return json.dumps(asdict(replace(answer, raw="")), ensure_ascii=False)


def answer_from_json(text: str) -> Answer:
    """Return the answer that `answer_to_json` wrote."""
    value = json.loads(text)
    sampling = value["sampling"]
    return Answer(
        **{
            **value,
            "citations": _citations(value["citations"]),
            "quotes": _citations(value.get("quotes", ())),
            "passages": tuple(
                Passage(**{**passage, "margins": tuple((a, b) for a, b in passage["margins"])})
                for passage in value["passages"]
            ),
            "notices": tuple(value["notices"]),
            "usage": Usage(**value["usage"]),
            "unsupported": tuple(Span(**span) for span in value["unsupported"]),
            "invented": tuple(value["invented"]),
            "messages": tuple(Message(**message) for message in value["messages"]),
            "sampling": None if sampling is None else Sampling(**{**sampling, "stop": tuple(sampling["stop"])}),
        }
    )


def _citations(values: Iterable[dict[str, Any]]) -> tuple[Citation, ...]:
    # answers stored before citations said who found them cite what the model did
    return tuple(Citation(**{"by": "model", **value, "rows": tuple(value.get("rows", ()))}) for value in values)


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_TITLE_CHARACTERS else line[: _MAX_TITLE_CHARACTERS - 1] + "…"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

"""What one visitor's session remembers; the only module that reads and writes Streamlit's session state and address line."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from assistant import (
    CONTROLS,
    Answer,
    AssistantConfig,
    Citation,
    Conversation,
    History,
    HistoryError,
    Passage,
    Sampling,
    Turn,
)
from streamlit_app.generation import Generation

VIEWS = ("Ask", "Library", "Settings", "Privacy")
ZOOMS = (0.75, 1.0, 1.5, 2.0, 3.0)

_KEY = "quire"


@dataclass(frozen=True)
class PageRef:
    """One page that is shown: the range that is marked lightly and the one that is marked strongly, if any."""

    document_id: str
    page: int  # 1-based
    passage: tuple[int, int] | None = None  # characters of Page.text
    quote: tuple[int, int] | None = None
    text: str = ""  # the passage, for a page whose file is not on this machine
    marked_page: int = 0  # the page that the ranges belong to
    title: str = ""

    @staticmethod
    def of(citation: Citation, passage: Passage | None) -> PageRef:
        """Return the page that a citation stands on, with its passage and quote marked."""
        return PageRef(
            document_id=citation.document_id,
            page=citation.page,
            passage=(passage.start, passage.end) if passage is not None else None,
            quote=(citation.start, citation.end),
            text=passage.text if passage is not None else citation.quote,
            marked_page=citation.page,
            title=f"[{citation.number}] {citation.document}",
        )

    @staticmethod
    def of_passage(passage: Passage) -> PageRef:
        """Return the page that a passage stands on, with the passage marked."""
        return PageRef(
            document_id=passage.document_id,
            page=passage.page,
            passage=(passage.start, passage.end),
            text=passage.text,
            marked_page=passage.page,
            title=f"[{passage.rank}] {passage.document}",
        )


class Talk:
    """One conversation as this session holds it; a generation keeps hold of the one it began in."""

    def __init__(
        self, library: str, conversation: str | None = None, turns: list[Turn] | None = None, *, title: str = ""
    ) -> None:
        self.library = library
        self.conversation = conversation  # id in the history, None while it is kept nowhere
        self.id = conversation or uuid.uuid4().hex  # known before the first answer: a reload finds it by this
        self.title = title  # as it was renamed, "" for the first question
        self.turns = turns or []
        self.problem = ""  # why it could not be kept
        self._lock = threading.Lock()

    def add(self, answer: Answer, history: Callable[[], History] | None) -> None:
        """Append a turn, also to the history where one is kept; called in the generating thread."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._lock:
            turn = Turn(uuid.uuid4().hex, len(self.turns), now, answer)
            if history is not None:
                try:
                    if self.conversation is None:
                        self.conversation = history().start(self.library, conversation_id=self.id)
                    turn = history().add(self.conversation, answer)
                    self.problem = ""
                except HistoryError as exc:
                    self.problem = str(exc)
            self.turns.append(turn)

    def cut(self, place: int, history: Callable[[], History] | None) -> None:
        """Remove the turns from the `place`-th on, for asking again or otherwise."""
        with self._lock:
            if place < len(self.turns) and history is not None and self.conversation is not None:
                history().cut(self.conversation, self.turns[place].position)
            del self.turns[place:]

    def as_kept(self) -> tuple[Conversation, list[Turn]]:
        """Return the conversation as an export takes it."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        first = self.turns[0] if self.turns else None
        title = self.title or (first.answer.question if first else "")
        created = first.created_at if first else now
        return Conversation(self.conversation or "", title, self.library, created, now, len(self.turns)), self.turns


@dataclass(frozen=True)
class Running:
    """An answer on its way and the conversation it belongs to: what a reload or another tab takes up again."""

    talk: Talk
    generation: Generation


@dataclass
class Session:
    """Everything one visitor's session remembers between runs."""

    library: str
    talk: Talk
    view: str = VIEWS[0]
    views_shown: int = 0  # counts views opened otherwise than by the control above the page
    allowed: bool = False  # the password was given, or none is needed
    page: PageRef | None = None
    zoom: float = 1.0
    editing: str = ""  # id of the turn whose question is being edited
    removing: str = ""  # id of what waits for a second click
    generation: Generation | None = None
    arrived: bool = False  # an answer is whole since the last drawing
    library_page: int = 0
    uploads: int = 0  # counts drops: another key empties the uploader, so that bytes leave memory
    ratings: dict[str, tuple[int, str]] = field(default_factory=dict)  # turn id: thumb, edit
    message: str = ""  # said once at the top
    chosen: tuple[str, ...] = ()  # ids of the documents a question may use, () means all


def session(library: str) -> Session:
    """Return this visitor's session, made at the first run."""
    import streamlit as st

    if _KEY not in st.session_state:
        st.session_state[_KEY] = Session(library, Talk(library))
    found = st.session_state[_KEY]
    assert isinstance(found, Session)  # noqa: S101 - nothing else writes there
    return found


def begin(own: Session, talk: Talk | None = None) -> None:
    """Turn to a new conversation or to the one given; what is being generated goes on into its own."""

    own.talk = talk or Talk(own.library)
    own.generation, own.page, own.editing = None, None, ""
    own.chosen = ()
    if talk is not None and talk.library and talk.library != own.library:
        own.library = talk.library
    remember(own, kept=False)


def resume(own: Session, history: Callable[[], History], conversation_id: str, running: Running | None = None) -> None:
    """Turn to a kept conversation, or to one whose answer is on its way; raises HistoryError where it is gone."""
    if running is not None:
        begin(own, running.talk)
        own.generation = running.generation
        remember(own, kept=True)
    else:
        kept = history().conversation(conversation_id)
        begin(own, Talk(kept.library, kept.id, history().turns(kept.id), title=kept.title))
    rated = {row.answer: (row.thumb, row.edit) for row in history().feedback()}
    own.ratings = {turn.id: rated[turn.answer] for turn in own.talk.turns if turn.answer in rated}


def remember(own: Session, *, kept: bool) -> None:
    """Write the conversation into the address line, so that a reload comes back to it, also before its first answer."""
    import streamlit as st

    if own.talk.conversation or (kept and own.generation is not None):
        if st.query_params.get("c") != own.talk.id:
            st.query_params["c"] = own.talk.id
    else:
        st.query_params.pop("c", None)


def asked_for() -> str:
    """Return the id of the conversation that the address line names, "" for none."""
    import streamlit as st

    return str(st.query_params.get("c", ""))


def show(own: Session, name: str) -> None:
    """Open another view.

    The control that chooses views becomes a new one: what the browser still has to say of the old one (the view before,
    sent along with whatever is clicked meanwhile) would otherwise open that view again.
    """
    own.view = name
    own.views_shown += 1


def value(name: str, default: Any) -> Any:
    """Return what a widget of that key holds, `default` before it was drawn."""
    import streamlit as st

    return st.session_state.get(name, default)


def set_value(name: str, new: Any) -> None:
    """Set what a widget of that key holds; only before it is drawn in this run."""
    import streamlit as st

    st.session_state[name] = new


def sampling(config: AssistantConfig) -> Sampling:
    """Return the sampling controls as the sliders stand; raises UsageError for one out of range."""
    values = {name: value(f"sampling_{name}", getattr(config.sampling, name)) for name in CONTROLS}
    # sliders count in floats: 0.1 + 0.2 must come out as 0.3
    values = {n: round(v, 4) if isinstance(v, float) else v for n, v in values.items()}
    return Sampling(**values, stop=config.sampling.stop)


def reset_sampling(config: AssistantConfig) -> None:
    """Set the sliders and the system prompt back to the settings in force."""
    for name in CONTROLS:
        set_value(f"sampling_{name}", getattr(config.sampling, name))
    reset_prompt(config)


def reset_prompt(config: AssistantConfig) -> None:
    """Set the system prompt back to the one in force."""
    set_value("system_prompt", config.system_prompt)


def turn_page(own: Session, page: int) -> None:
    """Show another page of the document that is shown."""
    if own.page is not None:
        own.page = replace(own.page, page=page)


def zoom(own: Session, steps: int) -> None:
    """Show the page larger or smaller by some of ZOOMS."""
    place = min(max(ZOOMS.index(own.zoom) + steps, 0), len(ZOOMS) - 1)
    own.zoom = ZOOMS[place]


def open_page(own: Session, page: PageRef) -> None:
    """Show a page beside the conversation."""
    own.page = page


def uses_documents() -> bool:
    """Say whether the next question is asked of the documents."""
    return bool(value("use_documents", True))


def keeps() -> bool:
    """Say whether this session's conversations may be kept."""
    return not value("private", False)


def model(default: str) -> str:
    """Return the name of the model that this session chose."""
    return str(value("model", None) or default)


def system_prompt(config: AssistantConfig) -> str:
    """Return what this session says to the model before our own instructions."""
    return str(value("system_prompt", config.system_prompt))


def choose_later(name: str) -> None:
    """Choose a model for the next run: the picker is drawn already in this one."""
    set_value("model_next", name)


def take_choice() -> None:
    """Make a choice of the run before valid; called before the picker is drawn."""
    import streamlit as st

    name = st.session_state.pop("model_next", None)
    if name:
        set_value("model", name)

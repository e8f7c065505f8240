"""One visitor's session; the only module that reads and writes Streamlit's session state and URL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import streamlit as st

from assistant import CONTROLS, AssistantConfig, Citation, History, Passage, Sampling
from quire import QuireError
from streamlit_app.conversation import OpenConversation, PendingAnswer
from streamlit_app.generation import Generation

VIEWS = ("Ask", "Library", "Settings", "Privacy")
ZOOMS = (0.75, 1.0, 1.5, 2.0, 3.0)

_KEY = "quire"


@dataclass(frozen=True)
class ShownPage:
    """A page shown beside the conversation, with the passage marked lightly and the quote strongly."""

    document_id: str
    page: int  # 1-based
    passage: tuple[int, int] | None = None  # character range of Page.text
    quote: tuple[int, int] | None = None  # character range of Page.text
    text: str = ""  # the passage, shown when the PDF is not on this machine
    marked_page: int = 0  # the page that the ranges belong to
    title: str = ""

    @staticmethod
    def of_citation(citation: Citation, passage: Passage | None) -> ShownPage:
        """Return the page of a citation with its passage marked, and its quote, or what in it answers."""
        return ShownPage(
            document_id=citation.document_id,
            page=citation.page,
            passage=(passage.start, passage.end) if passage is not None else None,
            quote=(citation.answer_start, citation.answer_end)
            if citation.answer_end
            else (citation.start, citation.end),
            text=passage.text if passage is not None else citation.quote,
            marked_page=citation.page,
            title=f"[{citation.number}] {citation.document}",
        )

    @staticmethod
    def of_passage(passage: Passage) -> ShownPage:
        """Return the page of a passage with the passage marked."""
        return ShownPage(
            document_id=passage.document_id,
            page=passage.page,
            passage=(passage.start, passage.end),
            text=passage.text,
            marked_page=passage.page,
            title=f"[{passage.rank}] {passage.document}",
        )


@dataclass
class Session:
    """What one visitor's session remembers between two runs of the script."""

    library: str
    conversation: OpenConversation
    view: str = VIEWS[0]
    views_shown: int = 0  # counts views opened by anything but the control at the top
    signed_in: bool = False
    page: ShownPage | None = None
    zoom: float = 1.0
    editing: str = ""  # id of the turn whose question is being edited
    confirming: str = ""  # what a second click would delete
    generation: Generation | None = None
    arrived: bool = False  # an answer was completed since the last run
    uploads: int = 0  # a new key for each upload empties the file picker and frees its memory
    ratings: dict[str, tuple[int, str]] = field(default_factory=dict)  # turn id: thumb, corrected answer
    message: str = ""  # shown once, at the top
    chosen: tuple[str, ...] = ()  # ids of the documents to answer from, () for all

    @property
    def busy(self) -> bool:
        """Return whether an answer is being generated."""
        return self.generation is not None and not self.generation.done

    def show_view(self, name: str) -> None:
        """Open another view.

        The control at the top gets a new key: the browser may still send its old value along with the next click,
        which would open the old view again.
        """
        self.view = name
        self.views_shown += 1

    def choose_library(self, name: str) -> None:
        """Switch to another library; a conversation with turns stays with its own library."""
        self.library = name
        self.chosen, self.page = (), None
        if self.conversation.turns:
            begin(self)
        else:
            self.conversation.library = name

    def ask_only(self, document_id: str) -> None:
        """Answer from one document only, and open the view for questions."""
        self.chosen = (document_id,)
        self.show_view("Ask")

    def forget_document(self, document_id: str) -> None:
        """Drop a removed document from the choice and from the screen."""
        self.chosen = tuple(chosen for chosen in self.chosen if chosen != document_id)
        if self.page is not None and self.page.document_id == document_id:
            self.page = None

    def open_page(self, page: ShownPage) -> None:
        """Show a page beside the conversation."""
        self.page = page

    def turn_page(self, number: int) -> None:
        """Show another page of the same document."""
        if self.page is not None:
            self.page = replace(self.page, page=number)

    def change_zoom(self, steps: int) -> None:
        """Move through ZOOMS by a number of steps, up or down."""
        place = min(max(ZOOMS.index(self.zoom) + steps, 0), len(ZOOMS) - 1)
        self.zoom = ZOOMS[place]

    def attempt(self, action: Callable[[], object]) -> bool:
        """Call an action, show its error as the message, and return whether it succeeded."""
        try:
            action()
        except QuireError as exc:
            self.message = str(exc)
            return False
        return True


def current_session(library: str) -> Session:
    """Return this visitor's session, created on the first run."""
    if _KEY not in st.session_state:
        st.session_state[_KEY] = Session(library, OpenConversation(library))
    session = st.session_state[_KEY]
    assert isinstance(session, Session)  # noqa: S101 - only this function writes there
    return session


# the open conversation, which the URL names


def begin(session: Session, conversation: OpenConversation | None = None) -> None:
    """Open a conversation, a new one for None; an answer being generated continues in the one it belongs to."""
    session.conversation = conversation or OpenConversation(session.library)
    session.generation, session.page, session.editing = None, None, ""
    session.chosen = ()
    session.library = session.conversation.library or session.library
    write_url(session, pending=False)


def resume(
    session: Session, history: Callable[[], History], conversation_id: str, pending: PendingAnswer | None
) -> None:
    """Open a saved conversation or one with a pending answer; raises HistoryError if it does not exist."""
    if pending is not None:
        begin(session, pending.conversation)
        session.generation = pending.generation
        write_url(session, pending=True)
    else:
        saved = history().conversation(conversation_id)
        turns = history().turns(saved.id)
        begin(session, OpenConversation(saved.library, saved_id=saved.id, turns=turns, title=saved.title))
    rated = {row.answer: (row.thumb, row.edit) for row in history().feedback()}
    session.ratings = {turn.id: rated[turn.answer] for turn in session.conversation.turns if turn.answer in rated}


def write_url(session: Session, *, pending: bool) -> None:
    """Name the conversation in the URL if it is saved or its first answer is `pending`: a reload opens it again."""
    if session.conversation.saved or (pending and session.generation is not None):
        if st.query_params.get("c") != session.conversation.id:
            st.query_params["c"] = session.conversation.id
    else:
        st.query_params.pop("c", None)


def conversation_in_url() -> str:
    """Return the id of the conversation that the URL names, "" for none."""
    return str(st.query_params.get("c", ""))


# values of widgets


def value(name: str, default: Any) -> Any:
    """Return the value of the widget with this key, `default` before it is drawn."""
    return st.session_state.get(name, default)


def set_value(name: str, new: Any) -> None:
    """Set the value of the widget with this key, before it is drawn in this run."""
    st.session_state[name] = new


def set_default(name: str, default: Any) -> None:
    """Set the value of the widget with this key unless it has one."""
    if value(name, None) is None:
        set_value(name, default)


def sampling(config: AssistantConfig) -> Sampling:
    """Return the sampling settings from the sliders; raises UsageError if one is out of range."""
    values = {name: value(f"sampling_{name}", getattr(config.sampling, name)) for name in CONTROLS}
    # sliders add floating-point steps: 0.1 + 0.2 must become 0.3
    values = {n: round(v, 4) if isinstance(v, float) else v for n, v in values.items()}
    return Sampling(**values, stop=config.sampling.stop)


def reset_sampling(config: AssistantConfig) -> None:
    """Reset the sliders and the system prompt to the configured values."""
    for name in CONTROLS:
        set_value(f"sampling_{name}", getattr(config.sampling, name))
    reset_system_prompt(config)


def system_prompt(config: AssistantConfig) -> str:
    """Return the session's system prompt."""
    return str(value("system_prompt", config.system_prompt))


def reset_system_prompt(config: AssistantConfig) -> None:
    """Reset the system prompt to the configured one."""
    set_value("system_prompt", config.system_prompt)


def uses_documents() -> bool:
    """Return whether questions are answered from the documents."""
    return bool(value("use_documents", True))


def is_private() -> bool:
    """Return whether private mode is on: nothing of this session is saved."""
    return bool(value("private", False))


def model(default: str) -> str:
    """Return the name of the model that this session chose."""
    return str(value("model", None) or default)


def choose_model_later(name: str) -> None:
    """Choose a model for the next run, since the picker of this run is already drawn."""
    set_value("model_next", name)


def apply_chosen_model() -> None:
    """Apply the choice of the previous run; call it before the picker is drawn."""
    name = st.session_state.pop("model_next", None)
    if name:
        set_value("model", name)

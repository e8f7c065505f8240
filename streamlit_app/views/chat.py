"""The conversation: its turns, the answer being generated, and the input for the next question."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ingest import Document
from quire import pluralize
from streamlit_app import scripts, state, text
from streamlit_app.asking import ask
from streamlit_app.generation import Generation
from streamlit_app.services import Services
from streamlit_app.settings import AppConfig
from streamlit_app.state import Session
from streamlit_app.views.errors import draw_error
from streamlit_app.views.first_run import draw_first_run
from streamlit_app.views.turn import MAX_QUESTION_CHARACTERS, draw_turn

_REDRAW_SECONDS = 0.1  # at least this often the drawing thread notices that the visitor clicked something
_QUICK_SECONDS = 2.0  # an answer this quick can be complete before the browser draws its beginning


def draw_chat(services: Services, session: Session, documents: list[Document]) -> None:
    """Draw the conversation without its input."""
    turns = session.conversation.turns
    if not turns and session.generation is None:
        if documents or not state.uses_documents():
            _draw_empty(session, documents)
        else:
            draw_first_run(services, session)
    for place, turn in enumerate(turns):
        draw_turn(services, session, turn, place)
    if session.conversation.save_error:
        st.warning(text.label(f"This conversation could not be saved: {session.conversation.save_error}"))
    if session.arrived:
        session.arrived = False
        quick = bool(turns) and turns[-1].answer.usage.seconds < _QUICK_SECONDS
        script = scripts.START_FOLLOWING + scripts.SCROLL_TO_QUESTION if quick else scripts.SCROLL_TO_END
        st.html(script, unsafe_allow_javascript=True)
    if session.generation is not None:
        _draw_generation(services, session, session.generation)


def draw_input(services: Services, session: Session, documents: list[Document], config: AppConfig) -> None:
    """Draw the input for a question; its placeholder names what will be asked."""
    ready = bool(documents) or not state.uses_documents()
    # not inside `st.bottom`: the page follows a growing answer only if Streamlit itself puts the input there
    question = st.chat_input(
        _placeholder(session, documents, ready),
        key="question",
        disabled=not ready or session.busy,
        max_chars=MAX_QUESTION_CHARACTERS,
    )
    with st.bottom:
        st.caption(text.label(config.disclaimer))
    if question and question.strip():
        ask(services, session, question.strip())
        st.rerun()


def _placeholder(session: Session, documents: list[Document], ready: bool) -> str:
    if not ready:
        return "Add a document first (Library)"
    if not state.uses_documents():
        return "Chat with the model, without documents"
    if session.chosen:
        return f"Ask {pluralize(len(session.chosen), 'selected document')}"
    return f"Ask {len(documents)} documents" if len(documents) != 1 else f"Ask {documents[0].name}"


def _draw_empty(session: Session, documents: list[Document]) -> None:
    if state.uses_documents():
        names = ", ".join(d.name for d in documents[:3]) + (" …" if len(documents) > 3 else "")
        st.markdown(f"#### What would you like to know?\n\n{text.label(f'Library {session.library}: {names}')}")
    else:
        st.markdown(
            "#### Chat without documents\n\nThe model answers from what it learned in training, without citations."
        )


# the answer that is being generated


def _draw_generation(services: Services, session: Session, generation: Generation) -> None:
    if generation.done and generation.failure is None:
        session.generation, session.arrived = None, True  # its answer is the last turn now
        state.write_url(session, pending=False)
        st.rerun()
    with st.chat_message("user"):
        st.html(text.plain(generation.question))
    with st.chat_message("assistant"):
        words = st.empty()
        if generation.failure is not None:
            _draw_failure(services, session, generation)
            return
        st.button("Stop", key="stop", icon=":material/stop_circle:", shortcut="Esc", on_click=generation.stop)
        notices = st.empty()
        st.html(scripts.START_FOLLOWING + scripts.SCROLL_TO_END, unsafe_allow_javascript=True)
        _follow(generation, words, notices)
    st.rerun()


def _follow(generation: Generation, words: DeltaGenerator, notices: DeltaGenerator) -> None:
    """Draw the answer as it grows; a click of the visitor ends this function, not the answer."""
    version = -1
    while not generation.done:
        version = generation.wait(version, seconds=_REDRAW_SECONDS)
        words.html(text.plain(generation.text or _progress(generation)))
        if generation.notices:
            notices.caption(text.label(" ".join(dict.fromkeys(generation.notices))))


def _progress(generation: Generation) -> str:
    if generation.stopping:
        return "Stopping …"
    if generation.passages is None:
        return "Searching …"
    return f"Found {pluralize(generation.passages, 'passage')}. The model is reading …"


def _draw_failure(services: Services, session: Session, generation: Generation) -> None:
    if generation.failure is not None:
        draw_error(generation.failure)
    with st.container(horizontal=True):
        if st.button("Try again", key="retry"):
            ask(services, session, generation.question)
            st.rerun()
        if st.button("Cancel", key="leave", type="tertiary"):
            session.generation = None
            services.drop_pending(session.conversation.id)
            state.write_url(session, pending=False)
            st.rerun()

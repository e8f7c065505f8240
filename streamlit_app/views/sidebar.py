"""The sidebar: library, documents to answer from, model, its settings, and the conversations."""

from __future__ import annotations

import streamlit as st

from ingest import Document
from streamlit_app import state
from streamlit_app.services import Services
from streamlit_app.state import Session
from streamlit_app.views.conversations import draw_conversations
from streamlit_app.views.model_picker import draw_model_picker
from streamlit_app.views.model_settings import draw_model_settings


def draw_sidebar(services: Services, session: Session, documents: list[Document], libraries: list[str]) -> None:
    """Draw the sidebar from top to bottom."""
    with st.sidebar:
        st.button(
            "New conversation",
            key="new",
            icon=":material/add:",
            shortcut="Alt+N",
            on_click=state.begin,
            args=(session,),
            width="stretch",
        )
        _draw_library(session, libraries)
        _draw_scope(session, documents)
        draw_model_picker(services)
        draw_model_settings(services.config)
        draw_conversations(services, session)


def _draw_library(session: Session, libraries: list[str]) -> None:
    names = [*libraries] if session.library in libraries else [*libraries, session.library]
    chosen = st.selectbox(
        "Library",
        names,
        index=names.index(session.library),
        key=f"library_{session.library}",
        accept_new_options=True,
        help="Choose a library, or type a new name to create one",
    )
    if chosen and chosen.strip() != session.library:
        session.choose_library(chosen.strip())
        st.rerun()


def _draw_scope(session: Session, documents: list[Document]) -> None:
    st.toggle(
        "Answer from documents",
        value=True,
        key="use_documents",
        bind="query-params",  # so a reload keeps it
        help="Off: chat with the model without searching anything",
    )
    if not documents or not state.uses_documents():
        return
    names = {document.id: document.name for document in documents}
    session.chosen = tuple(i for i in session.chosen if i in names)  # another session may have removed one
    if len(documents) > 1:
        # the key changes with a choice made elsewhere ("Ask only this"), so that the widget shows it
        picked = st.multiselect(
            "Documents",
            list(names),
            default=list(session.chosen),
            format_func=lambda i: names[i],
            key=f"scope_{session.library}_{hash(session.chosen)}_{len(documents)}",
            placeholder=f"All {len(documents)}",
        )
        if tuple(picked) != session.chosen:
            session.chosen = tuple(picked)
            st.rerun()

"""The saved conversations in the sidebar: private mode, the open conversation, and the list."""

from __future__ import annotations

import streamlit as st

from assistant import conversation_as_json, conversation_as_markdown
from quire import QuireError, pluralize
from streamlit_app import state, text
from streamlit_app.services import Services
from streamlit_app.state import Session
from streamlit_app.views.errors import draw_error

_MAX_SHOWN = 30  # older ones are found by searching


def draw_conversations(services: Services, session: Session) -> None:
    """Draw the switch for private mode, the open conversation's actions, and the list of the others."""
    st.markdown("##### Conversations")
    if not services.config.keep_conversations:
        st.caption("Conversations are not saved: keep_conversations is off in the settings.")
        return
    # in the URL: a reload must not turn it off
    st.toggle(
        "Private mode", key="private", bind="query-params", help="New questions and answers in this tab are not saved"
    )
    if session.conversation.turns:
        _draw_open(services, session)
    try:
        saved = services.history().conversations()
    except QuireError as exc:
        draw_error(exc)
        return
    if len(saved) > _MAX_SHOWN // 2:
        wanted = st.text_input("Search", key="find_conversation", placeholder="Words in the title").lower().strip()
        saved = [c for c in saved if wanted in c.title.lower()]
    for conversation in saved[:_MAX_SHOWN]:
        questions = pluralize(conversation.turns, "question")
        st.button(
            text.label(conversation.title or "Untitled"),
            key=f"talk_{conversation.id}",
            type="secondary" if conversation.id == session.conversation.id else "tertiary",
            width="stretch",
            help=text.label(f"{questions}, library {conversation.library}, {conversation.updated_at[:16]}"),
            on_click=_resume,
            args=(services, session, conversation.id),
        )
    if not saved:
        st.caption("No conversations yet.")


def _resume(services: Services, session: Session, conversation_id: str) -> None:
    pending = services.pending(conversation_id)
    if session.attempt(lambda: state.resume(session, services.history, conversation_id, pending)):
        session.show_view("Ask")


def _draw_open(services: Services, session: Session) -> None:
    conversation = session.conversation
    with st.expander("This conversation"):
        _draw_exports(session)
        if not conversation.saved:
            st.button("Clear", key="clear", on_click=state.begin, args=(session,))
            return
        with st.form("rename", border=False, clear_on_submit=True):
            title = st.text_input("Title", key="new_title")
            renamed = st.form_submit_button("Rename")
        if renamed and title.strip():
            session.attempt(lambda: _rename(services, session, title))
            st.rerun()
        if session.confirming == conversation.id:
            if st.button("Delete permanently", key="delete_sure", type="primary"):
                session.attempt(lambda: services.history().delete(conversation.id))
                session.confirming = ""
                state.begin(session)
                st.rerun()
        elif st.button("Delete", key="delete"):
            session.confirming = conversation.id
            st.rerun()


def _rename(services: Services, session: Session, title: str) -> None:
    conversation = session.conversation
    services.history().rename(conversation.id, title)
    conversation.title = services.history().conversation(conversation.id).title


def _draw_exports(session: Session) -> None:
    conversation, turns = session.conversation.export()
    with st.container(horizontal=True, key="exports"):
        for kind, write, suffix, mime in (
            ("Markdown", conversation_as_markdown, "md", "text/markdown"),
            ("JSON", conversation_as_json, "json", "application/json"),
        ):
            st.download_button(
                f"Download {kind}",
                write(conversation, turns),
                file_name=f"conversation.{suffix}",
                mime=mime,
                key=f"export_{kind}",
                on_click="ignore",
            )

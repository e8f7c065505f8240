"""The settings view: training data from feedback, deleting, and the system check."""

from __future__ import annotations

import functools

import streamlit as st

from assistant import kto_rows, preference_rows
from quire import QuireError, pluralize, strict_json
from streamlit_app import state, text
from streamlit_app.services import Services
from streamlit_app.state import Session
from streamlit_app.views.errors import draw_error
from streamlit_app.views.first_run import draw_findings


def draw_settings(services: Services, session: Session) -> None:
    """Draw the settings view."""
    st.markdown("##### Training data from feedback")
    _draw_feedback(services)
    st.markdown("##### Delete")
    _draw_delete(services, session)
    draw_findings(services)


def _draw_feedback(services: Services) -> None:
    try:
        feedback = services.history().feedback()
    except QuireError as exc:
        draw_error(exc)
        return
    st.caption(
        f"{pluralize(len(feedback), 'rated answer')}. Corrections become preference pairs, ratings become KTO rows. "
        "Quotes and refusals are left out: they teach a model nothing."
    )
    with st.container(horizontal=True):
        for label, kind, rows in (
            ("corrections", "pairs", preference_rows(feedback)),
            ("ratings", "kto", kto_rows(feedback)),
        ):
            lines = [f"{strict_json(row)}\n" for row in rows]
            st.download_button(
                f"Download {label} ({len(lines)})",
                "".join(lines),
                file_name=f"feedback-{kind}.jsonl",
                mime="application/jsonl",
                key=f"feedback_{kind}",
                on_click="ignore",
                disabled=not lines,
            )


def _draw_delete(services: Services, session: Session) -> None:
    with st.container(horizontal=True):
        for what, label, confirm, action in (
            ("all conversations", "Delete all conversations", "Delete all permanently", _delete_conversations),
            ("library", text.label(f"Remove library {session.library}"), "Remove permanently", _remove_library),
        ):
            if session.confirming == what:
                if st.button(confirm, key=f"sure_{what}", type="primary"):
                    session.confirming = ""
                    session.attempt(functools.partial(action, services, session))
                    st.rerun()
            elif st.button(label, key=f"delete_{what}"):
                session.confirming = what
                st.rerun()


def _remove_library(services: Services, session: Session) -> None:
    services.remove_library(session.library)
    session.message = f"Removed library {session.library}."
    session.library = services.ingest_config.library
    state.begin(session)


def _delete_conversations(services: Services, session: Session) -> None:
    session.message = f"Deleted {pluralize(services.history().delete_all(), 'conversation')}."
    state.begin(session)

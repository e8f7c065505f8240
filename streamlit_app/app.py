"""The page from top to bottom; `quire app` serves this script, which runs once for every click."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from assistant import AssistantConfig, log_notice
from assistant import load_config as load_assistant_config
from ingest import Document, IngestConfig
from ingest import load_config as load_ingest_config
from quire import QuireError
from streamlit_app import scripts, state, text
from streamlit_app.gate import Gate
from streamlit_app.services import Services
from streamlit_app.settings import AppConfig, check_password_set, is_loopback, load_config
from streamlit_app.state import Session
from streamlit_app.views.chat import draw_chat, draw_input
from streamlit_app.views.errors import draw_error
from streamlit_app.views.library import draw_library
from streamlit_app.views.page import draw_page
from streamlit_app.views.privacy import draw_privacy
from streamlit_app.views.settings import draw_settings
from streamlit_app.views.sidebar import draw_sidebar

_STYLE = Path(__file__).resolve().parent / "style.css"
# an image file: for an emoji or a Material icon Streamlit would ask a font server on the internet
_ICON = str(Path(__file__).resolve().parent / "icon.png")


def main() -> None:
    """Draw the page for one visitor."""
    try:
        config, _ = load_config()
        st.set_page_config(page_title=config.title, page_icon=_ICON, layout="wide")
        address = st.get_option("server.address")
        check_password_set(config, address)
        ingest_config, _ = load_ingest_config()
        assistant_config, _ = load_assistant_config()
    except QuireError as exc:
        draw_error(exc)
        return
    st.html(_STYLE)
    st.html(scripts.OPEN_CITATIONS, unsafe_allow_javascript=True)
    session = state.current_session(ingest_config.library)
    if not session.signed_in and not _sign_in(session, config, address):
        return
    try:
        _draw(_services(ingest_config, assistant_config), session, config, address)
    except QuireError as exc:
        draw_error(exc)


@st.cache_resource(show_spinner=False)
def _services(ingest_config: IngestConfig, config: AssistantConfig) -> Services:
    return Services(ingest_config, config)


@st.cache_resource(show_spinner=False)
def _gate(password: str) -> Gate:
    return Gate(password)


def _draw(services: Services, session: Session, config: AppConfig, address: str | None) -> None:
    _resume_from_url(services, session)
    libraries = services.libraries.names()  # first: it closes a library that another process removed
    documents = _documents(services, session)
    view = session.view = st.segmented_control(
        "View",
        state.VIEWS,
        default=session.view,
        key=f"view_{session.views_shown}",
        required=True,
        label_visibility="collapsed",
    )
    _draw_notices(services, session)
    draw_sidebar(services, session, documents, libraries)
    if view == "Ask":
        draw_input(services, session, documents, config)
    if session.page is not None and view in ("Ask", "Library"):
        main_area, beside = st.columns([6, 5], gap="medium")
        with beside:
            draw_page(services.libraries, session)
    else:
        main_area = st.container()
    with main_area:
        if view == "Ask":
            draw_chat(services, session, documents)
        elif view == "Library":
            draw_library(services, session, documents, config)
        elif view == "Settings":
            draw_settings(services, session)
        else:
            draw_privacy(services, config, address)


def _documents(services: Services, session: Session) -> list[Document]:
    try:
        return services.libraries.documents(session.library)
    except QuireError as exc:
        session.message = ""
        draw_error(exc)
        return []


def _draw_notices(services: Services, session: Session) -> None:
    warning = log_notice(services.config)
    if warning:
        st.warning(text.label(warning), icon=":material/visibility:")
    if session.message:
        st.toast(text.label(session.message))
        st.info(text.label(session.message))
        session.message = ""


def _resume_from_url(services: Services, session: Session) -> None:
    """Open the conversation that the URL names, after a reload."""
    wanted = state.conversation_in_url()
    untouched = not session.conversation.turns and not session.conversation.saved and session.generation is None
    if not wanted or not untouched:
        return
    pending = services.pending(wanted)
    if not session.attempt(lambda: state.resume(session, services.history, wanted, pending)):
        state.begin(session)
        session.message = "The conversation in this URL was not found: it was deleted or never saved."


def _sign_in(session: Session, config: AppConfig, address: str | None) -> bool:
    """Return whether the visitor may see the page; draws the form for the password if not."""
    if not config.password and is_loopback(address):
        session.signed_in = True
        return True
    st.markdown(f"#### {text.label(config.title)}")
    st.caption("Everyone with the password shares this library and its history.")
    with st.form("door"):
        given = st.text_input("Password", type="password", key="door_password")
        sent = st.form_submit_button("Sign in")
    if not sent:
        return False
    gate = _gate(config.password)
    if gate.verify(given):
        session.signed_in = True
        st.rerun()
    lockout = gate.lockout_seconds()
    st.error(f"Too many wrong passwords. Try again in {text.time_words(lockout)}." if lockout else "Wrong password.")
    return False


main()

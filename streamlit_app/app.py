"""The page: what stands where; `quire app` serves it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from assistant import AssistantConfig, log_notice
from assistant import load_config as load_assistant_config
from ingest import IngestConfig
from ingest import load_config as load_ingest_config
from quire import QuireError
from streamlit_app import state, text
from streamlit_app.gate import Gate
from streamlit_app.services import Services
from streamlit_app.settings import AppConfig, check_door, is_loopback, load_config
from streamlit_app.views import chat, library, page, privacy, side

if TYPE_CHECKING:
    from ingest import Document
    from streamlit_app.state import Session

_STYLE = Path(__file__).resolve().parent / "style.css"
# a number in an answer opens its page as the button below the answer does, which is there for the keyboard as well
_MARKS = """<script>
if (!window.quireMarks) {
  window.quireMarks = true;
  document.addEventListener('click', event => {
    const mark = event.target.closest('.quire-mark');
    const message = mark && mark.closest('[data-testid="stChatMessage"]');
    const buttons = message ? [...message.querySelectorAll('[class*="st-key-cite_"] button')] : [];
    const button = buttons.find(one => one.innerText.trim().startsWith(mark.innerText));
    if (button) button.click();
  });
}
</script>"""
# a picture of our own: Streamlit fetches emoji and Material icons for the tab from a font server on the internet
_ICON = str(Path(__file__).resolve().parent / "icon.png")


def main() -> None:
    """Draw the page once, for one visitor."""
    try:
        config, _ = load_config()
        st.set_page_config(page_title=config.title, page_icon=_ICON, layout="wide")
        address = st.get_option("server.address")
        check_door(config, address)
        ingest_config, _ = load_ingest_config()
        assistant_config, _ = load_assistant_config()
    except QuireError as exc:
        _draw_error(exc)
        return
    st.html(_STYLE)
    st.html(_MARKS, unsafe_allow_javascript=True)
    own = state.session(ingest_config.library)
    if not own.allowed and not _draw_door(own, config, address):
        return
    services = _services(ingest_config, assistant_config)
    try:
        _draw(services, own, config, address)
    except QuireError as exc:
        _draw_error(exc)


@st.cache_resource(show_spinner=False)
def _services(ingest_config: IngestConfig, config: AssistantConfig) -> Services:
    return Services(ingest_config, config)


@st.cache_resource(show_spinner=False)
def _gate(password: str) -> Gate:
    return Gate(password)


def _draw(services: Services, own: Session, config: AppConfig, address: str | None) -> None:
    _resume_once(services, own)
    names = services.library_names()  # first: it notices a library that another process removed
    documents = _documents(services, own)
    own.view = st.segmented_control(
        "View",
        state.VIEWS,
        default=own.view,
        key=f"view_{own.views_shown}",
        required=True,
        label_visibility="collapsed",
    )
    warning = log_notice(services.config)
    if warning:
        st.warning(text.label(warning), icon=":material/visibility:")
    if own.message:
        st.toast(text.label(own.message))
        st.info(text.label(own.message))
        own.message = ""
    side.draw_side(services, own, documents, names)
    view = own.view
    if view == "Ask":
        chat.draw_input(services, own, documents, config)
    if own.page is not None and view in ("Ask", "Library"):
        left, right = st.columns([6, 5], gap="medium")
    else:
        left, right = st.container(), None
    if right is not None:
        with right:
            page.draw_page(services, own)
    with left:
        if view == "Ask":
            chat.draw_chat(services, own, documents)
        elif view == "Library":
            library.draw_library(services, own, documents, config)
        elif view == "Settings":
            privacy.draw_settings(services, own)
        else:
            privacy.draw_privacy(services, own, config, address)


def _documents(services: Services, own: Session) -> list[Document]:
    try:
        return services.documents(own.library)
    except QuireError as exc:
        own.message = ""
        _draw_error(exc)
        return []


def _resume_once(services: Services, own: Session) -> None:
    """Come back to the conversation that the address line names, after a reload."""
    wanted = state.asked_for()
    if wanted and not own.talk.turns and own.talk.conversation is None and own.generation is None:
        try:
            state.resume(own, services.history, wanted, services.running(wanted))
        except QuireError:
            state.begin(own)
            own.message = "The conversation that this address names is not here: it was deleted, or nothing was kept."


def _draw_door(own: Session, config: AppConfig, address: str | None) -> bool:
    """Let in whoever needs no password or knows it; draws the door for all others."""
    if not config.password and is_loopback(address):
        own.allowed = True
        return True
    gate = _gate(config.password)
    st.markdown(f"#### {text.label(config.title)}")
    st.caption("Whoever has the password shares this library and its history.")
    with st.form("door"):
        given = st.text_input("Password", type="password", key="door_password")
        sent = st.form_submit_button("Come in")
    if not sent:
        return False
    if gate.lets_in(given):
        own.allowed = True
        st.rerun()
    shut = gate.seconds_shut()
    st.error(f"Too many wrong passwords: wait {text.time_words(shut)}." if shut else "That is not the password.")
    return False


def _draw_error(exc: QuireError) -> None:
    st.error(text.label(exc.message))
    if exc.hint:
        st.caption(text.label(f"Fix: {exc.hint}"))


main()

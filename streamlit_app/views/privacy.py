"""What is kept and where, the switches for it, and what the page says of itself; texts come from the settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from assistant import log_notice
from quire import QuireError, pluralize
from streamlit_app import state, text
from streamlit_app.settings import is_loopback
from streamlit_app.state import Session
from streamlit_app.views import first_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from assistant import Feedback
    from ingest import IngestConfig
    from streamlit_app.services import Services
    from streamlit_app.settings import AppConfig


def draw_privacy(services: Services, own: Session, config: AppConfig, address: str | None) -> None:
    """Draw what is kept, where, and how it goes away."""
    import streamlit as st

    st.markdown("##### What is kept, and where")
    for paragraph in config.privacy.splitlines():
        if paragraph.strip():
            st.markdown(text.label(paragraph))
    st.markdown(
        "\n".join(f"- **{what}** {text.label(where)}. {how}." for what, where, how in kept(services.ingest_config))
    )
    if services.ingest_config.embedder.startswith(("ollama:", "openai:")):
        st.markdown(
            f"To be found by their meaning, passages and questions go to the embedding model {text.label(services.ingest_config.embedder)}."
        )
    if not services.config.keep_conversations:
        st.info("Conversations are not kept: keep_conversations is off in the settings.")
    elif not state.keeps():
        st.info("Nothing of this tab is kept: the switch at the side is on.")
    else:
        st.markdown("Conversations are kept. The switch “Keep nothing of mine” at the side ends that for this tab.")
    st.markdown(text.label(log_notice(services.config) or "There is no operator's log of conversations."))
    if is_loopback(address):
        st.markdown("The page listens on this machine only.")
    else:
        st.warning(
            "The page can be reached over the network. Whoever has the password shares this library and its history."
        )
    st.caption("No usage statistics are collected, by this page or by what it is made with.")


def kept(config: IngestConfig) -> list[tuple[str, str, str]]:
    """Return what is kept, where, and how it goes away, with the store that is in force."""
    home = config.home
    passages = {
        "sqlite": f"in {home / 'libraries'}",
        "weaviate-embedded": f"in {home / 'weaviate'}",
        "weaviate": f"on the Weaviate server {config.weaviate_url}",
    }[config.store]
    return [
        ("Copies of the PDFs", f"in {home / 'files'}", "Remove the document under Library"),
        ("Passages and vectors", passages, "Remove the document or the library"),
        (
            "Conversations and thumbs",
            f"in {home / 'conversations.sqlite'}",
            "Delete the conversation, or all of them under Settings",
        ),
        ("Uploads on their way", f"in {home / 'uploads'}", "They go when their ingest ends"),
    ]


def draw_settings(services: Services, own: Session) -> None:
    """Draw the exports, the switches that delete, and what doctor finds."""
    import streamlit as st

    st.markdown("##### Feedback as training rows")
    _draw_feedback(services)
    st.markdown("##### Delete")
    _draw_delete(services, own)
    first_run.draw_findings(services)


def _draw_feedback(services: Services) -> None:
    import streamlit as st

    from assistant import kto_rows, preference_rows

    try:
        rows = services.history().feedback()
    except QuireError as exc:
        st.error(text.label(str(exc)))
        return
    kinds: tuple[tuple[str, str, Callable[[list[Feedback]], Iterator[dict[str, object]]]], ...] = (
        ("Pairs", "pairs", preference_rows),
        ("Thumbs (KTO)", "kto", kto_rows),
    )
    st.caption(
        f"{len(rows)} {'answer was' if len(rows) == 1 else 'answers were'} rated. Pairs come from better answers that were written, KTO rows from every thumb. "
        "Quotes and refusals teach a model nothing and are left out."
    )
    with st.container(horizontal=True):
        for label, kind, make in kinds:
            made = [json.dumps(row, ensure_ascii=False) for row in make(rows)]
            st.download_button(
                f"{label}: {len(made)} {'row' if len(made) == 1 else 'rows'}",
                "".join(f"{row}\n" for row in made),
                file_name=f"feedback-{kind}.jsonl",
                mime="application/jsonl",
                key=f"feedback_{kind}",
                on_click="ignore",
                disabled=not made,
            )


def _draw_delete(services: Services, own: Session) -> None:
    import streamlit as st

    with st.container(horizontal=True):
        for key, label, sure in (
            ("all conversations", "Delete all conversations", "Delete them for good"),
            ("library", text.label(f"Remove library {own.library}"), "Remove it for good"),
        ):
            if own.removing == key:
                if st.button(sure, key=f"sure_{key}", type="primary"):
                    own.removing = ""
                    _delete(services, own, key)
                    st.rerun()
            elif st.button(label, key=f"delete_{key}"):
                own.removing = key
                st.rerun()


def _delete(services: Services, own: Session, what: str) -> None:
    try:
        if what == "library":
            services.remove_library(own.library)
            own.message = f"Library {own.library} was removed."
            own.library = services.ingest_config.library
        else:
            own.message = f"Deleted {pluralize(services.history().delete_all(), 'conversation')}."
        state.begin(own)
    except QuireError as exc:
        own.message = str(exc)

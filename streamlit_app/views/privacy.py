"""The privacy view: what is stored, where, and how to delete it."""

from __future__ import annotations

import streamlit as st

from assistant import log_notice
from ingest import IngestConfig
from streamlit_app import state, text
from streamlit_app.services import Services
from streamlit_app.settings import AppConfig, is_loopback


def draw_privacy(services: Services, config: AppConfig, address: str | None) -> None:
    """Draw the privacy view; `address` is the interface that the page listens on."""
    st.markdown("##### What is stored, and where")
    for paragraph in config.privacy.splitlines():
        if paragraph.strip():
            st.markdown(text.label(paragraph))
    data = stored_data(services.ingest_config)
    st.markdown("\n".join(f"- **{what}** {text.label(where)}. {deletion}." for what, where, deletion in data))
    embedder = services.ingest_config.embedder
    if embedder.startswith(("ollama:", "openai:")):
        st.markdown(f"For search, passages and questions are sent to the embedding model {text.label(embedder)}.")
    if not services.config.keep_conversations:
        st.info("Conversations are not saved: keep_conversations is off in the settings.")
    elif state.is_private():
        st.info("Private mode is on: nothing in this tab is saved.")
    else:
        st.markdown("Conversations are saved. Private mode, in the sidebar, stops that for this tab.")
    st.markdown(text.label(log_notice(services.config) or "The operator keeps no log of conversations."))
    if is_loopback(address):
        st.markdown("The page can be opened on this machine only.")
    else:
        st.warning(
            "The page can be reached over the network. Everyone with the password shares this library and its history."
        )
    st.caption("Neither quire nor the software it is built with collects usage statistics.")


def stored_data(config: IngestConfig) -> list[tuple[str, str, str]]:
    """Return what is stored, where (by the configured store), and how it is deleted."""
    home = config.home
    passages = {
        "sqlite": f"in {home / 'libraries'}",
        "weaviate-embedded": f"in {home / 'weaviate'}",
        "weaviate": f"on the Weaviate server {config.weaviate_url}",
    }[config.store]
    return [
        ("Copies of the PDFs", f"in {home / 'files'}", "Deleted with the document"),
        ("Passages and vectors", passages, "Deleted with the document or the library"),
        (
            "Conversations and ratings",
            f"in {home / 'conversations.sqlite'}",
            "Deleted with the conversation, or all at once under Settings",
        ),
        ("Uploads in progress", f"in {home / 'uploads'}", "Deleted when the ingest ends"),
    ]

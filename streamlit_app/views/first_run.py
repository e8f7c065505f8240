"""What a newcomer sees: the three things that are missing (document, model, question), each with the way to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamlit_app import state, text
from streamlit_app.state import Session

if TYPE_CHECKING:
    from streamlit_app.services import Services

_MARKS = {"ok": ":material/check_circle:", "missing": ":material/error:", "optional": ":material/remove:"}


def draw_first_run(services: Services, own: Session) -> None:
    """Draw the steps to the first answer, with what doctor finds on this machine."""
    import streamlit as st

    models = [entry.name for entry in services.models() if entry.name != "quotes"]
    st.markdown("#### Three steps to your first answer")
    with st.container(border=True):
        st.markdown("**1. A document.** The library is empty. Drop PDFs in or paste links.")
        st.button("Put documents in", key="first_documents", type="primary", on_click=state.show, args=(own, "Library"))
    with st.container(border=True):
        if models:
            st.markdown(f"**2. A model.** {text.label(models[0])} is ready; choose another at the side.")
        else:
            st.markdown(
                "**2. A model.** None was found, and you can do without: you get the best passages as quotes. "
                "For answers in sentences install Ollama, then fetch a model:"
            )
            st.code("ollama pull qwen2.5:3b", language=None)
    with st.container(border=True):
        st.markdown("**3. A question.** Type it below. Every answer names its pages; click a number to see the page.")
    draw_findings(services)


def draw_findings(services: Services) -> None:
    """Draw what doctor finds, folded away."""
    import streamlit as st

    found = services.findings()
    missing = [finding for finding in found if finding.state == "missing"]
    title = f"What this machine has ({len(missing)} missing)" if missing else "What this machine has"
    with st.expander(title, expanded=bool(missing)):
        for finding in found:
            fix = f"  \n{text.label(f'Fix: {finding.fix}')}" if finding.fix else ""
            st.markdown(f"{_MARKS[finding.state]} **{text.label(finding.name)}**: {text.label(finding.text)}{fix}")
        if not found:
            st.caption("Still looking …")

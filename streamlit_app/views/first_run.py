"""The start page of an empty library: three steps to the first answer, and the system check."""

from __future__ import annotations

import streamlit as st

from streamlit_app import text
from streamlit_app.services import Services
from streamlit_app.state import Session

_ICONS = {"ok": ":material/check_circle:", "missing": ":material/error:", "optional": ":material/remove:"}


def draw_first_run(services: Services, session: Session) -> None:
    """Draw the three steps: a document, a model, a question."""
    models = [entry.name for entry in services.models.entries() if entry.name != "quotes"]
    st.markdown("#### Three steps to your first answer")
    with st.container(border=True):
        st.markdown("**1. Add documents.** The library is empty. Add PDF files or paste links.")
        st.button("Add documents", key="first_documents", type="primary", on_click=session.show_view, args=("Library",))
    with st.container(border=True):
        if models:
            st.markdown(f"**2. Choose a model.** {text.label(models[0])} is ready. The sidebar lists all models.")
        else:
            st.markdown(
                "**2. Choose a model.** No model was found. You can start without one: you get the best passages "
                "as quotes. For written answers, install Ollama and download a model:"
            )
            st.code("ollama pull qwen2.5:3b", language=None)
    with st.container(border=True):
        st.markdown("**3. Ask a question.** Answers cite their pages: click a number to see the page.")
    draw_findings(services)


def draw_findings(services: Services) -> None:
    """Draw what `quire doctor` finds, folded away unless something is missing."""
    findings = services.findings()
    missing = sum(finding.state == "missing" for finding in findings)
    title = f"System check ({missing} missing)" if missing else "System check"
    with st.expander(title, expanded=bool(missing)):
        for finding in findings:
            fix = f"  \n{text.label(f'Fix: {finding.fix}')}" if finding.fix else ""
            st.markdown(f"{_ICONS[finding.state]} **{text.label(finding.name)}**: {text.label(finding.text)}{fix}")
        if not findings:
            st.caption("Checking …")

"""How the page shows an error: the message and, below it, how to fix it."""

from __future__ import annotations

import streamlit as st

from quire import QuireError
from streamlit_app import text


def draw_error(error: QuireError) -> None:
    """Draw an error and its hint, if it has one."""
    st.error(text.label(error.message))
    if error.hint:
        st.caption(text.label(f"Fix: {error.hint}"))

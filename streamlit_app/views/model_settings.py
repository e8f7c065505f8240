"""The sampling settings and the system prompt, as sliders with the ranges of the command's flags."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from assistant import CONTROLS, AssistantConfig, Control
from streamlit_app import state

_BASIC = ("temperature", "max_tokens")  # what most people change
_PERSIST: Literal["session"] = "session"  # Streamlit forgets the value of a widget that it does not draw


def draw_model_settings(config: AssistantConfig) -> None:
    """Draw the basic settings, and the others if Advanced is on."""
    with st.expander("Model settings"):
        for name in _BASIC:
            _draw_control(config, CONTROLS[name])
        if st.toggle("Advanced", key="advanced"):
            _draw_advanced(config)
        else:
            _draw_hidden_changes(config)
        st.button("Reset all", key="reset_sampling", on_click=state.reset_sampling, args=(config,))


def _draw_advanced(config: AssistantConfig) -> None:
    for name, control in CONTROLS.items():
        if name not in _BASIC:
            _draw_control(config, control)
    state.set_default("system_prompt", config.system_prompt)
    st.text_area(
        "System prompt",
        key="system_prompt",
        help="Sent to the model before quire's own instructions",
        height=100,
        persist_state=_PERSIST,
    )
    st.button("Reset system prompt", key="reset_prompt", on_click=state.reset_system_prompt, args=(config,))


def _draw_hidden_changes(config: AssistantConfig) -> None:
    """Name the settings that were changed under Advanced, since they apply while hidden."""
    changed = [
        control.label
        for name, control in CONTROLS.items()
        if name not in _BASIC and state.value(f"sampling_{name}", None) not in (None, getattr(config.sampling, name))
    ]
    if state.system_prompt(config) != config.system_prompt:
        changed.append("System prompt")
    if changed:
        st.caption(f"Changed under Advanced: {', '.join(changed)}.")


def _draw_control(config: AssistantConfig, control: Control) -> None:
    key = f"sampling_{control.name}"
    whole = control.step == int(control.step)
    kind = int if whole else float
    state.set_default(key, kind(getattr(config.sampling, control.name)))
    low, high, step = kind(control.minimum), kind(control.maximum), kind(control.step)
    if whole and high - low > 1000:
        st.number_input(control.label, low, high, step=step, key=key, help=control.help, persist_state=_PERSIST)
    else:
        digits = "%d" if whole else ("%.2f" if control.step < 0.1 else "%.1f")
        st.slider(
            control.label, low, high, step=step, key=key, help=control.help, format=digits, persist_state=_PERSIST
        )

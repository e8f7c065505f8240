"""The choice of the model: the list, a name to type, and downloads with Ollama."""

from __future__ import annotations

from pathlib import PurePath

import streamlit as st

from assistant import ModelEntry
from quire import QuireError
from streamlit_app import state, text
from streamlit_app.models import Download, Models
from streamlit_app.services import Services
from streamlit_app.settings import is_loopback
from streamlit_app.views.errors import draw_error


def draw_model_picker(services: Services) -> None:
    """Draw the list of models and, folded away, the ways to add one."""
    state.apply_chosen_model()
    models = services.models
    entries = {entry.name: entry for entry in models.entries()}
    default = models.default()
    chosen = state.model(default)
    for name in (default, chosen):
        entries.setdefault(name, ModelEntry(name))
    state.set_default("model", default)
    st.selectbox("Model", list(entries), key="model", format_func=lambda name: model_words(entries[name]))
    tuned = entries[chosen].tuned
    if tuned:
        st.caption(text.label(tuned_words(tuned)))
    elif chosen == "quotes":
        st.caption("No model: you get the best passages as quotes.")
    with st.expander("Add a model"):
        _draw_name_form(models)
        _draw_downloads(models)


def model_words(entry: ModelEntry) -> str:
    """Return a model as the picker shows it: name, whether it was tuned here, quantization and size."""
    size = text.size_words(entry.size_bytes) if entry.size_bytes else ""
    tuned = "tuned" if entry.tuned else ""
    about = ", ".join(word for word in (tuned, entry.parameters, entry.quantization, size) if word)
    return f"{entry.name} ({about})" if about else entry.name


def tuned_words(record: dict[str, object]) -> str:
    """Return what the record of a tuned model says: base, data and date."""
    shown = dict(record)
    if isinstance(data := record.get("data"), dict):  # hashes by file
        shown["data"] = ", ".join(PurePath(name).name for name in data)
    parts = [f"{name} {shown[name]}" for name in ("base", "data", "date") if shown.get(name)]
    return f"Tuned here: {', '.join(parts)}." if parts else "Tuned here."


def _draw_name_form(models: Models) -> None:
    # a path or a hub name makes this machine load files: not for visitors from the network
    local = is_loopback(st.get_option("server.address"))
    with st.form("named_model", border=False):
        name = st.text_input(
            "Model name",
            key="named",
            placeholder="openai:NAME, gguf:PATH, hf:NAME" if local else "openai:NAME",
            help="Any name that quire ask --model accepts",
        ).strip()
        sent = st.form_submit_button("Use model")
    if not sent or not name:
        return
    if not local and name.startswith(("gguf:", "hf:")):
        st.error("Model files can only be chosen on the server itself: set QUIRE_MODEL there.")
        return
    try:
        with st.spinner("Loading …"):
            loaded = models.load(name).name
    except QuireError as exc:
        draw_error(exc)
        return
    state.choose_model_later(loaded)
    st.rerun()


def _draw_downloads(models: Models) -> None:
    with st.form("pull_model", border=False, clear_on_submit=True):
        name = st.text_input("Download with Ollama", key="pull", placeholder="qwen2.5:3b")
        sent = st.form_submit_button("Download model")
    if sent and name.strip():
        models.download(name.strip())
    downloads = models.downloads()
    for download in downloads:
        if download.finished:
            _draw_finished(models, download)
    if any(not download.finished for download in downloads):
        st.fragment(_draw_running, run_every=1.0)(models)


def _draw_finished(models: Models, download: Download) -> None:
    if download.failure is not None:
        draw_error(download.failure)
    else:
        st.success(text.label(f"Downloaded {download.name}."))
    with st.container(horizontal=True):
        if download.failure is None:
            st.button("Use this model", key=f"use_{download.name}", on_click=_use, args=(models, download))
        st.button("Dismiss", key=f"forget_{download.name}", on_click=models.dismiss, args=(download,))


def _use(models: Models, download: Download) -> None:
    listed = {entry.name for entry in models.entries()}
    names = (f"ollama:{download.name}", f"ollama:{download.name}:latest")
    state.choose_model_later(next((name for name in names if name in listed), names[0]))
    models.dismiss(download)


def _draw_running(models: Models) -> None:
    """Draw the progress of the downloads; a fragment that runs by itself until all are finished."""
    running = [download for download in models.downloads() if not download.finished]
    for download in running:
        done, total = download.done_bytes, download.total_bytes
        size = f", {text.size_words(done)} of {text.size_words(total)}" if total else ""
        st.progress(min(1.0, done / total if total else 0.0), text.label(f"{download.name}: {download.status}{size}"))
    if not running:
        st.rerun()

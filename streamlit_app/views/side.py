"""The side of the page: library, which documents are asked, model and sampling, and the conversations."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

from assistant import CONTROLS, Control
from quire import QuireError, pluralize
from streamlit_app import state, text
from streamlit_app.settings import is_loopback
from streamlit_app.state import Session
from streamlit_app.views import chat

if TYPE_CHECKING:
    from assistant import ModelEntry
    from ingest import Document
    from streamlit_app.services import Pull, Services

_CONVERSATIONS = 30  # drawn at once; the rest is found by its words
_SIMPLE = ("temperature", "max_tokens")  # what most people touch; the rest is folded away
_KEPT: Literal["session"] = "session"  # what is folded away holds; otherwise Streamlit forgets what it does not draw


def draw_side(services: Services, own: Session, documents: list[Document], libraries: list[str]) -> None:
    """Draw everything at the side."""
    import streamlit as st

    with st.sidebar:
        st.button(
            "New conversation",
            key="new",
            icon=":material/add:",
            shortcut="Alt+N",
            on_click=state.begin,
            args=(own,),
            width="stretch",
        )
        _draw_library(own, libraries)
        _draw_scope(own, documents)
        _draw_model(services)
        _draw_sampling(services)
        _draw_conversations(services, own)


# what is asked


def _draw_library(own: Session, libraries: list[str]) -> None:
    import streamlit as st

    names = [*libraries] if own.library in libraries else [*libraries, own.library]
    chosen = st.selectbox(
        "Library",
        names,
        index=names.index(own.library),
        key=f"library_{own.library}",
        accept_new_options=True,
        help="Choose one, or type the name of a new one",
    )
    if chosen and chosen.strip() != own.library:
        own.library = chosen.strip()
        own.chosen, own.page, own.library_page = (), None, 0
        if own.talk.turns:
            state.begin(own)
        else:
            own.talk.library = own.library
        st.rerun()


def _draw_scope(own: Session, documents: list[Document]) -> None:
    import streamlit as st

    st.toggle(
        "Ask the documents",
        value=True,
        key="use_documents",
        bind="query-params",  # so a reload keeps it
        help="Off: plain chat with the model, nothing is looked up",
    )
    if not documents or not state.uses_documents():
        return
    names = {document.id: document.name for document in documents}
    gone = [i for i in own.chosen if i not in names]
    if gone:
        own.chosen = tuple(i for i in own.chosen if i in names)
    if len(documents) > 1:
        # a key that follows what was chosen elsewhere ("Ask only this"), so that both show the same
        picked = st.multiselect(
            "Which documents",
            list(names),
            default=list(own.chosen),
            format_func=lambda i: names[i],
            key=f"scope_{own.library}_{hash(own.chosen)}_{len(documents)}",
            placeholder=f"All {len(documents)}",
        )
        if tuple(picked) != own.chosen:
            own.chosen = tuple(picked)
            st.rerun()


# the model


def _draw_model(services: Services) -> None:
    import streamlit as st

    state.take_choice()
    entries = {entry.name: entry for entry in services.models()}
    default = services.default_model()
    chosen = state.model(default)
    for name in (default, chosen):
        if name not in entries:
            from assistant import ModelEntry

            entries[name] = ModelEntry(name)
    names = list(entries)
    if state.value("model", None) is None:
        state.set_value("model", default)
    st.selectbox("Model", names, key="model", format_func=lambda name: model_words(entries[name]))
    tuned = entries[chosen].tuned
    if tuned:
        st.caption(text.label(tuned_words(tuned)))
    elif chosen == "quotes":
        st.caption("No model: you get the best passages as quotes.")
    with st.expander("Another model"):
        _draw_named(services)
        _draw_pull(services)


def model_words(entry: ModelEntry) -> str:
    """Return a model as the picker shows it: name, size, quantisation, and whether it was tuned here."""
    size = text.size_words(entry.size_bytes) if entry.size_bytes else ""
    tuned = "tuned" if entry.tuned else ""
    about = ", ".join(word for word in (tuned, entry.parameters, entry.quantization, size) if word)
    return f"{entry.name} ({about})" if about else entry.name


def tuned_words(record: dict[str, object]) -> str:
    """Return what a record of a training run says: base, data and date."""
    told = dict(record)
    if isinstance(data := record.get("data"), dict):  # hashes by file
        told["data"] = ", ".join(PurePath(name).name for name in data)
    parts = [f"{name} {told[name]}" for name in ("base", "data", "date") if told.get(name)]
    return f"Tuned here: {', '.join(parts)}." if parts else "Tuned here."


def _draw_named(services: Services) -> None:
    import streamlit as st

    # a path or a hub name makes this machine load files: for whoever sits at it, not for the network
    near = is_loopback(st.get_option("server.address"))
    with st.form("named_model", border=False):
        name = st.text_input(
            "Name",
            key="named",
            placeholder="openai:NAME, gguf:PATH, hf:NAME" if near else "openai:NAME",
            help="As in --model",
        )
        sent = st.form_submit_button("Use it")
    if sent and not near and name.strip().startswith(("gguf:", "hf:")):
        st.error("Models of files are chosen at the machine itself: set QUIRE_MODEL there.")
    elif sent and name.strip():
        try:
            with st.spinner("Loading …"):
                loaded = services.model(name.strip()).name
        except QuireError as exc:
            st.error(text.label(exc.message))
            st.caption(text.label(exc.hint))
            return
        state.choose_later(loaded)
        st.rerun()


def _draw_pull(services: Services) -> None:
    import streamlit as st

    with st.form("pull_model", border=False, clear_on_submit=True):
        name = st.text_input("Fetch with Ollama", key="pull", placeholder="qwen2.5:3b")
        sent = st.form_submit_button("Fetch")
    if sent and name.strip():
        services.pull(name.strip())
    pulls = services.pulls()
    for pull in pulls:
        if pull.trouble is not None:
            st.error(text.label(pull.trouble.message))
            st.caption(text.label(pull.trouble.fix))
            st.button("Dismiss", key=f"forget_{pull.name}", on_click=services.forget_pull, args=(pull,))
        elif pull.finished:
            st.success(text.label(f"{pull.name} was fetched."))
            with st.container(horizontal=True):
                st.button("Use this model", key=f"use_{pull.name}", on_click=_use_fetched, args=(services, pull))
                st.button("Dismiss", key=f"forget_{pull.name}", on_click=services.forget_pull, args=(pull,))
    if any(not pull.finished for pull in pulls):
        st.fragment(_draw_pulling, run_every=1.0)(services)


def _use_fetched(services: Services, pull: Pull) -> None:
    there = {entry.name for entry in services.models()}
    names = (f"ollama:{pull.name}", f"ollama:{pull.name}:latest")
    state.choose_later(next((name for name in names if name in there), names[0]))
    services.forget_pull(pull)


def _draw_pulling(services: Services) -> None:
    import streamlit as st

    running: list[Pull] = [pull for pull in services.pulls() if not pull.finished]
    for pull in running:
        share = pull.done / pull.total if pull.total else 0.0
        size = f", {text.size_words(pull.done)} of {text.size_words(pull.total)}" if pull.total else ""
        st.progress(min(1.0, share), text.label(f"{pull.name}: {pull.status}{size}"))
    if not running:
        st.rerun()


# sampling


def _draw_sampling(services: Services) -> None:
    import streamlit as st

    with st.expander("Sampling"):
        for name in _SIMPLE:
            _draw_control(services, CONTROLS[name])
        if st.toggle("Advanced", key="advanced"):
            for name, control in CONTROLS.items():
                if name not in _SIMPLE:
                    _draw_control(services, control)
            if state.value("system_prompt", None) is None:
                state.set_value("system_prompt", services.config.system_prompt)
            st.text_area(
                "System prompt",
                key="system_prompt",
                help="Said to the model before our own instructions",
                height=100,
                persist_state=_KEPT,
            )
            st.button(
                "Reset the system prompt", key="reset_prompt", on_click=state.reset_prompt, args=(services.config,)
            )
        else:
            _draw_folded(services)
        st.button("Reset all", key="reset_sampling", on_click=state.reset_sampling, args=(services.config,))


def _draw_folded(services: Services) -> None:
    """Say which settings in force stand where nobody sees them."""
    import streamlit as st

    now = services.config.sampling
    changed = [
        control.label
        for name, control in CONTROLS.items()
        if name not in _SIMPLE and state.value(f"sampling_{name}", None) not in (None, getattr(now, name))
    ]
    if state.system_prompt(services.config) != services.config.system_prompt:
        changed.append("System prompt")
    if changed:
        st.caption(f"Changed under Advanced: {', '.join(changed)}.")


def _draw_control(services: Services, control: Control) -> None:
    """Draw one control with the range of the command's flag of the same name."""
    import streamlit as st

    key = f"sampling_{control.name}"
    now = getattr(services.config.sampling, control.name)
    whole = control.step == int(control.step)
    kind = int if whole else float
    if state.value(key, None) is None:
        state.set_value(key, kind(now))
    low, high, step = kind(control.minimum), kind(control.maximum), kind(control.step)
    if whole and high - low > 1000:
        st.number_input(control.label, low, high, step=step, key=key, help=control.help, persist_state=_KEPT)
    else:
        digits = "%d" if whole else ("%.2f" if control.step < 0.1 else "%.1f")
        st.slider(control.label, low, high, step=step, key=key, help=control.help, format=digits, persist_state=_KEPT)


# conversations


def _draw_conversations(services: Services, own: Session) -> None:
    import streamlit as st

    st.markdown("##### Conversations")
    if not services.config.keep_conversations:
        st.caption("Nothing is kept: keep_conversations is off in the settings.")
        return
    # bound to the address line: a reload must not begin to keep what was not to be kept
    st.toggle(
        "Keep nothing of mine", key="private", bind="query-params", help="New turns of this tab are written nowhere"
    )
    if own.talk.turns:
        _draw_current(services, own)
    try:
        kept = services.history().conversations()
    except QuireError as exc:
        st.error(text.label(exc.message))
        st.caption(text.label(exc.hint))
        return
    if len(kept) > _CONVERSATIONS // 2:
        wanted = st.text_input("Find", key="find_conversation", placeholder="words of its title").lower().strip()
        kept = [c for c in kept if wanted in c.title.lower()]
    for conversation in kept[:_CONVERSATIONS]:
        current = conversation.id == own.talk.conversation
        st.button(
            text.label(conversation.title or "Untitled"),
            key=f"talk_{conversation.id}",
            type="secondary" if current else "tertiary",
            width="stretch",
            help=text.label(
                f"{pluralize(conversation.turns, 'question')} to {conversation.library}, {conversation.updated_at[:16]}"
            ),
            on_click=_resume,
            args=(services, own, conversation.id),
        )
    if not kept:
        st.caption("None yet. Each first question begins one.")


def _resume(services: Services, own: Session, conversation_id: str) -> None:
    try:
        state.resume(own, services.history, conversation_id, services.running(conversation_id))
        state.show(own, "Ask")
    except QuireError as exc:
        own.message = str(exc)


def _draw_current(services: Services, own: Session) -> None:
    import streamlit as st

    with st.expander("This conversation"):
        chat.draw_exports(own)
        if own.talk.conversation is None:
            st.button("Clear", key="clear", on_click=state.begin, args=(own,))
            return
        with st.form("rename", border=False, clear_on_submit=True):
            title = st.text_input("Title", key="new_title")
            renamed = st.form_submit_button("Rename")
        if renamed and title.strip():
            _change(own, lambda: _rename(services, own, title))
            st.rerun()
        if own.removing == own.talk.conversation:
            if st.button("Delete for good", key="delete_sure", type="primary"):
                _change(own, lambda: services.history().delete(str(own.talk.conversation)))
                own.removing = ""
                state.begin(own)
                st.rerun()
        elif st.button("Delete", key="delete"):
            own.removing = own.talk.conversation
            st.rerun()


def _rename(services: Services, own: Session, title: str) -> None:
    services.history().rename(own.talk.id, title)
    own.talk.title = services.history().conversation(own.talk.id).title


def _change(own: Session, change: object) -> None:
    try:
        change()  # type: ignore[operator]
    except QuireError as exc:
        own.message = str(exc)

"""The conversation: questions, streamed answers with citations to click, stop, regenerate, edit, copy, thumbs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assistant import Answer, History, Turn, conversation_as_json, conversation_as_markdown
from quire import QuireError, pluralize
from streamlit_app import state, text
from streamlit_app.services import Question
from streamlit_app.state import PageRef, Session
from streamlit_app.views import first_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest import Document
    from streamlit_app.generation import Generation
    from streamlit_app.services import Services
    from streamlit_app.settings import AppConfig

_LOOK_SECONDS = 0.1  # at least this often the drawing thread asks whether somebody clicked something
_MOST_CHARACTERS = 20_000  # of one question
_QUICK_SECONDS = 2.0  # an answer may be whole before the browser has drawn that it began
# Whoever had scrolled up and asks is taken to the answer, at its beginning and once more when it stands there whole;
# from the end on Streamlit follows it by itself. Whoever touches the page in between is left where they are.
_BEGINS = """<script>
window.quireFollows = true;
for (const kind of ['wheel', 'touchmove', 'keydown', 'pointerdown'])
  document.addEventListener(kind, () => { window.quireFollows = false; }, { once: true, passive: true });
</script>"""
_TO_THE_END = """<script>
{ const go = () => {
    const main = document.querySelector('[data-testid="stAppScrollToBottomContainer"]');
    if (main && window.quireFollows) main.scrollTo({ top: main.scrollHeight });
  };
  go();
  setTimeout(go, 300);  // the page may still be drawing
}
</script>"""
# an answer that came at once is read from its question on, one that was seen growing goes on being read at its end
_TO_THE_QUESTION = """<script>
{ const go = () => {
    const main = document.querySelector('[data-testid="stAppScrollToBottomContainer"]');
    const asked = main && [...main.querySelectorAll('[data-testid="stChatMessage"]')].at(-2);
    if (!asked || !window.quireFollows) return;
    const top = asked.getBoundingClientRect().top - main.getBoundingClientRect().top + main.scrollTop - 70;
    main.scrollTo({ top: Math.min(top, main.scrollHeight - main.clientHeight) });
  };
  go();
  for (const wait of [300, 800]) setTimeout(go, wait);  // the page may still be drawing
}
</script>"""


def draw_chat(services: Services, own: Session, documents: list[Document]) -> None:
    """Draw the conversation without its input line, and the answer that is being written."""
    import streamlit as st

    if not own.talk.turns and own.generation is None:
        if documents or not state.uses_documents():
            _draw_empty(own, documents)
        else:
            first_run.draw_first_run(services, own)
    for place, turn in enumerate(own.talk.turns):
        _draw_turn(services, own, turn, place)
    if own.talk.problem:
        st.warning(text.label(f"This conversation could not be kept: {own.talk.problem}"))
    if own.arrived:
        own.arrived = False
        quick = bool(own.talk.turns) and own.talk.turns[-1].answer.usage.seconds < _QUICK_SECONDS
        st.html(_BEGINS + _TO_THE_QUESTION if quick else _TO_THE_END, unsafe_allow_javascript=True)
    if own.generation is not None:
        _draw_generation(services, own, own.generation)


def draw_input(services: Services, own: Session, documents: list[Document], config: AppConfig) -> None:
    """Draw the line to type a question in, with what it will ask."""
    import streamlit as st

    ready = bool(documents) or not state.uses_documents()
    busy = own.generation is not None and not own.generation.done
    # not inside `st.bottom`: only where Streamlit puts the line there by itself does the page follow a growing answer
    asked = st.chat_input(
        _placeholder(own, documents, ready),
        key="question",
        disabled=not ready or busy,
        max_chars=_MOST_CHARACTERS,
    )
    with st.bottom:
        st.caption(text.label(config.disclaimer))
    if asked and asked.strip():
        ask(services, own, asked.strip())
        st.rerun()


def ask(services: Services, own: Session, question: str) -> None:
    """Begin the answer to a question in this session's conversation; a setting out of range is said, not raised."""
    try:
        sampling = state.sampling(services.config)
    except QuireError as exc:
        own.message = str(exc)
        return
    talk, history = own.talk, kept_history(services)
    own.generation = services.ask(
        Question(
            text=question,
            library=own.library,
            model=state.model(services.default_model()),
            documents=own.chosen or None,
            use_documents=state.uses_documents(),
            sampling=sampling,
            system_prompt=state.system_prompt(services.config),
            earlier=tuple(turn.answer for turn in talk.turns),
        ),
        lambda answer: talk.add(answer, history),
    )
    if history is not None:
        services.follow(state.Running(talk, own.generation))
    state.remember(own, kept=history is not None)


def kept_history(services: Services) -> Callable[[], History] | None:
    """Return where this session's conversations are kept, None where nothing is to be kept."""
    return services.history if services.config.keep_conversations and state.keeps() else None


def _placeholder(own: Session, documents: list[Document], ready: bool) -> str:
    if not ready:
        return "Put a document in first (Library)"
    if not state.uses_documents():
        return "Chat with the model, without documents"
    if own.chosen:
        return f"Ask {len(own.chosen)} chosen {'document' if len(own.chosen) == 1 else 'documents'}"
    return f"Ask {len(documents)} documents" if len(documents) != 1 else f"Ask {documents[0].name}"


def _draw_empty(own: Session, documents: list[Document]) -> None:
    import streamlit as st

    if state.uses_documents():
        few = ", ".join(d.name for d in documents[:3]) + (" …" if len(documents) > 3 else "")
        st.markdown(f"#### What would you like to know?\n\n{text.label(f'Library {own.library}: {few}')}")
    else:
        st.markdown("#### Chat without documents\n\nThe model answers from what it has learned. Nothing is cited.")


# one turn


def _draw_turn(services: Services, own: Session, turn: Turn, place: int) -> None:
    import streamlit as st

    with st.chat_message("user"):
        if own.editing == turn.id:
            _draw_edit(services, own, turn, place)
        else:
            st.html(text.plain(turn.answer.question))
    with st.chat_message("assistant"):
        _draw_answer(own, turn)
        _draw_actions(services, own, turn, place)


def _draw_answer(own: Session, turn: Turn) -> None:
    import streamlit as st

    answer = turn.answer
    shown = text.flowing(answer.text) if answer.mode == "quotes" else answer.text
    st.html(text.plain(shown, answer.unsupported))
    if answer.interrupted:
        why = "You stopped it here." if answer.interrupted == "stopped" else f"It broke off: {answer.interrupted}"
        st.warning(text.label(f"This answer is not complete. {why}"))
    if answer.refused:
        st.caption(_refusal_help())
    _draw_citations(own, turn)
    for notice in dict.fromkeys(answer.notices):
        if not answer.interrupted or answer.interrupted not in notice:  # that stands in the warning
            st.caption(text.label(notice))


def _refusal_help() -> str:
    return text.label(
        "Ask in the words of the document, choose other documents, or put the right one in under Library."
    )


def _draw_citations(own: Session, turn: Turn) -> None:
    import streamlit as st

    answer = turn.answer
    if answer.citations:
        with st.container(horizontal=True, gap="small", key=f"citations_{turn.id}"):
            for citation in answer.citations:
                where = (
                    f"[{citation.number}] {citation.document}, {text.page_words(citation.page, citation.page_label)}"
                )
                passage = answer.passages[citation.number - 1] if citation.number <= len(answer.passages) else None
                st.button(
                    text.label(where),
                    key=f"cite_{turn.id}_{citation.number}",
                    help=text.label(f"“{text.shortened(citation.quote, 300)}”"),
                    on_click=state.open_page,
                    args=(own, PageRef.of(citation, passage)),
                )
    elif answer.mode == "model" and not answer.refused and answer.passages:
        st.caption("The answer cites nothing. These passages were given to the model:")
        with st.container(horizontal=True, gap="small"):
            for passage in answer.passages:
                st.button(
                    text.label(f"[{passage.rank}] {text.source_words(passage)}"),
                    key=f"passage_{turn.id}_{passage.rank}",
                    on_click=state.open_page,
                    args=(own, PageRef.of_passage(passage)),
                )
    if answer.mode == "chat":
        st.caption("Without documents: nothing here is cited.")


def _draw_actions(services: Services, own: Session, turn: Turn, place: int) -> None:
    import streamlit as st

    last = place == len(own.talk.turns) - 1
    busy = own.generation is not None and not own.generation.done
    with st.container(horizontal=True, gap="small", vertical_alignment="center", key=f"actions_{turn.id}"):
        _draw_thumbs(services, own, turn)
        with st.popover("Copy", type="tertiary", key=f"copy_{turn.id}"):
            st.code(as_copied(turn.answer), language=None, wrap_lines=True)
        if st.button(
            "Edit", key=f"edit_{turn.id}", type="tertiary", disabled=busy, help="Edit the question and ask again"
        ):
            own.editing = turn.id
            st.rerun()
        if last and st.button(
            "Again", key=f"again_{turn.id}", type="tertiary", disabled=busy, help="Generate it again"
        ):
            _ask_instead(services, own, place, turn.answer.question)
        seconds = turn.answer.usage.seconds
        took = f", {seconds:.1f} s" if seconds >= 0.1 else ""
        st.caption(text.label(f"{turn.answer.model}{took}"), width="content")
    if own.ratings.get(turn.id, (0, ""))[0] < 0:
        _draw_better(services, own, turn)


def as_copied(answer: Answer) -> str:
    """Return an answer with its sources as plain text."""
    lines = [answer.text]
    for c in answer.citations:
        lines.append(
            f"[{c.number}] {c.document}, {text.page_words(c.page, c.page_label)}: “{' '.join(c.quote.split())}”"
        )
    return "\n".join(lines)


def _draw_edit(services: Services, own: Session, turn: Turn, place: int) -> None:
    import streamlit as st

    with st.form(f"edit_form_{turn.id}", border=False):
        edited = st.text_area(
            "Your question", turn.answer.question, max_chars=_MOST_CHARACTERS, key=f"edited_{turn.id}"
        )
        with st.container(horizontal=True):
            send = st.form_submit_button("Ask again", type="primary")
            leave = st.form_submit_button("Leave it")
        later = len(own.talk.turns) - place - 1
        if later:
            st.caption(f"What came after it ({later}) is removed.")
    if send and edited.strip():
        _ask_instead(services, own, place, edited.strip())
    if leave:
        own.editing = ""
        st.rerun()


def _ask_instead(services: Services, own: Session, place: int, question: str) -> None:
    import streamlit as st

    own.editing, own.page = "", None
    try:
        own.talk.cut(place, kept_history(services))
        ask(services, own, question)
    except QuireError as exc:
        own.message = str(exc)
    st.rerun()


# thumbs


def _draw_thumbs(services: Services, own: Session, turn: Turn) -> None:
    import streamlit as st

    if kept_history(services) is None or own.talk.conversation is None:
        return  # nothing is kept, so neither is an opinion
    key = f"thumb_{turn.id}"
    if turn.id in own.ratings and state.value(key, None) is None:
        state.set_value(key, int(own.ratings[turn.id][0] > 0))
    given = st.feedback("thumbs", key=key)
    if given is not None and (turn.id not in own.ratings or (own.ratings[turn.id][0] > 0) != bool(given)):
        _rate(services, own, turn, 1 if given else -1, "")
        st.rerun()


def _draw_better(services: Services, own: Session, turn: Turn) -> None:
    import streamlit as st

    edit = own.ratings[turn.id][1]
    with st.form(f"better_{turn.id}"):
        better = st.text_area(
            "What would have been a better answer?",
            edit or turn.answer.text,
            key=f"better_text_{turn.id}",
            help="It becomes a training row: quire feedback export",
        )
        saved = st.form_submit_button("Save the better answer")
    if saved:
        changed = better.strip() if better.strip() != turn.answer.text.strip() else ""
        _rate(services, own, turn, -1, changed)
        own.message = "Saved." if changed else "It is the same text, so only the thumb is kept."
        st.rerun()


def _rate(services: Services, own: Session, turn: Turn, thumb: int, edit: str) -> None:
    try:
        services.history().rate(turn.answer, thumb, edit=edit, conversation_id=own.talk.conversation, turn_id=turn.id)
        own.ratings[turn.id] = (thumb, edit)
    except QuireError as exc:
        own.message = str(exc)


# the answer that is being written


def _draw_generation(services: Services, own: Session, generation: Generation) -> None:
    import streamlit as st

    if generation.done and generation.trouble is None:
        own.generation, own.arrived = None, True  # its answer is the last turn by now
        state.remember(own, kept=False)
        st.rerun()
    with st.chat_message("user"):
        st.html(text.plain(generation.question))
    with st.chat_message("assistant"):
        words = st.empty()
        if generation.trouble is not None:
            _draw_trouble(services, own, generation)
            return
        st.button("Stop", key="stop", icon=":material/stop_circle:", shortcut="Esc", on_click=generation.stop)
        notices = st.empty()
        st.html(_BEGINS + _TO_THE_END, unsafe_allow_javascript=True)
        _follow(generation, words, notices)
    st.rerun()


def _follow(generation: Generation, words: object, notices: object) -> None:
    """Show the answer as it grows; any drawing call lets a click of this visitor interrupt, and the answer goes on."""
    seen = -1
    while not generation.done:
        seen = generation.wait(seen, seconds=_LOOK_SECONDS)
        words.html(text.plain(generation.text or _waiting(generation)))  # type: ignore[attr-defined]  # Streamlit's placeholder
        if generation.notices:
            notices.caption(text.label(" ".join(dict.fromkeys(generation.notices))))  # type: ignore[attr-defined]


def _waiting(generation: Generation) -> str:
    if generation.stopping:
        return "Stopping …"
    if generation.passages is None:
        return "Looking …"
    return f"{pluralize(generation.passages, 'passage')} found. The model reads them …"


def _draw_trouble(services: Services, own: Session, generation: Generation) -> None:
    import streamlit as st

    assert generation.trouble is not None  # noqa: S101 - asked by the caller
    st.error(text.label(generation.trouble.message))
    if generation.trouble.fix:
        st.caption(text.label(generation.trouble.fix))
    with st.container(horizontal=True):
        if st.button("Try again", key="retry"):
            ask(services, own, generation.question)
            st.rerun()
        if st.button("Leave it", key="leave", type="tertiary"):
            own.generation = None
            services.forget(own.talk.id)
            state.remember(own, kept=False)
            st.rerun()


def draw_exports(own: Session) -> None:
    """Draw the buttons that save the conversation as Markdown and as JSON."""
    import streamlit as st

    if not own.talk.turns:
        return
    conversation, turns = own.talk.as_kept()
    with st.container(horizontal=True, key="exports"):
        for kind, write, mime in (
            ("Markdown", conversation_as_markdown, "text/markdown"),
            ("JSON", conversation_as_json, "application/json"),
        ):
            st.download_button(
                kind,
                write(conversation, turns),
                file_name=f"conversation.{'md' if kind == 'Markdown' else 'json'}",
                mime=mime,
                key=f"export_{kind}",
                on_click="ignore",
                help=f"Save this conversation as {kind}",
            )

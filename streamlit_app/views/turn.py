"""One question with its answer: citations, notices, rating, copying, editing and regenerating."""

from __future__ import annotations

import streamlit as st

from assistant import Answer, Citation, Turn
from quire import pluralize
from streamlit_app import state, text
from streamlit_app.asking import ask_instead, history_to_save
from streamlit_app.services import Services
from streamlit_app.state import Session, ShownPage

MAX_QUESTION_CHARACTERS = 20_000


def draw_turn(services: Services, session: Session, turn: Turn, place: int) -> None:
    """Draw a turn; `place` is its index in the conversation."""
    with st.chat_message("user"):
        if session.editing == turn.id:
            _draw_edit(services, session, turn, place)
        else:
            st.html(text.plain(turn.answer.question))
    with st.chat_message("assistant"):
        _draw_answer(session, turn)
        _draw_actions(services, session, turn, place)


def _as_text(answer: Answer) -> str:
    """Return an answer with its sources as plain text."""
    sources = [f"[{c.number}] {text.source_words(c)}: “{' '.join(c.quote.split())}”" for c in answer.citations]
    return "\n".join([answer.text, *sources])


def _draw_answer(session: Session, turn: Turn) -> None:
    answer = turn.answer
    shown = text.flowing(answer.text) if answer.mode == "quotes" else answer.text
    st.html(text.plain(shown, answer.unsupported))
    if answer.interrupted == "stopped":
        st.warning("You stopped this answer, so it is incomplete.")
    elif answer.interrupted:
        st.warning(text.label(f"This answer is incomplete: {answer.interrupted}"))
    if answer.refused:
        st.caption("Try the document's own words, select other documents, or add the right one under Library.")
    _draw_sources(session, turn)
    for notice in dict.fromkeys(answer.notices):
        if not answer.interrupted or answer.interrupted not in notice:  # the warning says it already
            st.caption(text.label(notice))


def _draw_sources(session: Session, turn: Turn) -> None:
    answer = turn.answer
    if answer.citations:
        with st.container(horizontal=True, gap="small", key=f"citations_{turn.id}"):
            for place, citation in enumerate(answer.citations):
                _draw_source(session, answer, citation, key=f"cite_{turn.id}_{place}", place=place)
        matched = dict.fromkeys(c.number for c in answer.citations if c.by == "house" and answer.mode == "model")
        if matched:
            numbers = ", ".join(f"[{number}]" for number in matched)
            st.caption(text.label(f"{numbers}: matched to the statements by quire, not cited by the model."))
    elif answer.mode == "model" and not answer.refused and answer.passages:
        st.caption("The answer names no source. The model was given these passages:")
        with st.container(horizontal=True, gap="small"):
            for passage in answer.passages:
                st.button(
                    text.label(f"[{passage.rank}] {text.source_words(passage)}"),
                    key=f"passage_{turn.id}_{passage.rank}",
                    on_click=session.open_page,
                    args=(ShownPage.of_passage(passage),),
                )
    if answer.quotes:
        st.caption("The dotted part is in no passage. The passages closest to the question say:")
        for place, quote in enumerate(answer.quotes):
            st.html(text.plain(f"“{text.flowing(quote.quote)}” [{quote.number}]"))
            _draw_source(session, answer, quote, key=f"quote_{turn.id}_{place}")
    if answer.mode == "chat":
        st.caption("Answered without documents, so nothing is cited.")


def _draw_source(session: Session, answer: Answer, source: Citation, *, key: str, place: int = 0) -> None:
    """Draw the button that opens the place of a citation; another place under one number is named by its words."""
    passage = answer.passages[source.number - 1] if source.number <= len(answer.passages) else None
    again = any(earlier.number == source.number for earlier in answer.citations[:place])
    words = f"“{text.shortened(source.quote, 40)}”" if again else text.source_words(source)
    st.button(
        text.label(f"[{source.number}] {words}"),
        key=key,
        help=text.label(f"“{text.shortened(source.quote, 300)}”"),
        on_click=session.open_page,
        args=(ShownPage.of_citation(source, passage),),
    )


def _draw_actions(services: Services, session: Session, turn: Turn, place: int) -> None:
    last = place == len(session.conversation.turns) - 1
    with st.container(horizontal=True, gap="small", vertical_alignment="center", key=f"actions_{turn.id}"):
        _draw_thumbs(services, session, turn)
        with st.popover("Copy", type="tertiary", key=f"copy_{turn.id}"):
            st.code(_as_text(turn.answer), language=None, wrap_lines=True)
        if st.button(
            "Edit", key=f"edit_{turn.id}", type="tertiary", disabled=session.busy, help="Edit the question and resend"
        ):
            session.editing = turn.id
            st.rerun()
        if last and st.button(
            "Regenerate", key=f"again_{turn.id}", type="tertiary", disabled=session.busy, help="Replace this answer"
        ):
            ask_instead(services, session, place, turn.answer.question)
            st.rerun()
        seconds = turn.answer.usage.seconds
        took = f", {seconds:.1f} s" if seconds >= 0.1 else ""
        st.caption(text.label(f"{turn.answer.model}{took}"), width="content")
    if session.ratings.get(turn.id, (0, ""))[0] < 0:
        _draw_correction(services, session, turn)


def _draw_edit(services: Services, session: Session, turn: Turn, place: int) -> None:
    with st.form(f"edit_form_{turn.id}", border=False):
        edited = st.text_area(
            "Your question", turn.answer.question, max_chars=MAX_QUESTION_CHARACTERS, key=f"edited_{turn.id}"
        )
        with st.container(horizontal=True):
            send = st.form_submit_button("Send", type="primary")
            cancel = st.form_submit_button("Cancel")
        later = len(session.conversation.turns) - place - 1
        if later:
            st.caption(
                f"This also removes {pluralize(later, 'later question')} and {'its answer' if later == 1 else 'their answers'}."
            )
    if send and edited.strip():
        ask_instead(services, session, place, edited.strip())
        st.rerun()
    if cancel:
        session.editing = ""
        st.rerun()


# ratings


def _draw_thumbs(services: Services, session: Session, turn: Turn) -> None:
    if history_to_save(services) is None or not session.conversation.saved:
        return  # a rating would save the question and the answer
    key = f"thumb_{turn.id}"
    rated = session.ratings.get(turn.id)
    if rated is not None:
        state.set_default(key, int(rated[0] > 0))
    given = st.feedback("thumbs", key=key)
    if given is not None and (rated is None or (rated[0] > 0) != bool(given)):
        _rate(services, session, turn, 1 if given else -1, "")
        st.rerun()


def _draw_correction(services: Services, session: Session, turn: Turn) -> None:
    edit = session.ratings[turn.id][1]
    with st.form(f"better_{turn.id}"):
        better = st.text_area(
            "What should the answer have been?",
            edit or turn.answer.text,
            key=f"better_text_{turn.id}",
            help="Corrections can train a model: download them under Settings",
        )
        saved = st.form_submit_button("Save correction")
    if saved:
        changed = better.strip() if better.strip() != turn.answer.text.strip() else ""
        _rate(services, session, turn, -1, changed)
        session.message = "Saved." if changed else "The text is unchanged, so only the rating was saved."
        st.rerun()


def _rate(services: Services, session: Session, turn: Turn, thumb: int, edit: str) -> None:
    def save() -> None:
        services.history().rate(turn.answer, thumb, edit=edit, conversation_id=session.conversation.id, turn_id=turn.id)
        session.ratings[turn.id] = (thumb, edit)

    session.attempt(save)

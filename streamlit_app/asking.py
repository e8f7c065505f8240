"""Starts the answer to a question, with the settings of the sidebar."""

from __future__ import annotations

from collections.abc import Callable

from assistant import History
from streamlit_app import state
from streamlit_app.conversation import PendingAnswer
from streamlit_app.services import Question, Services
from streamlit_app.state import Session


def ask(services: Services, session: Session, question: str) -> None:
    """Start an answer; a setting that is out of range becomes the session's message."""
    session.attempt(lambda: _start(services, session, question))


def ask_instead(services: Services, session: Session, place: int, question: str) -> None:
    """Replace the turns from index `place` on by a new question."""
    session.editing, session.page = "", None
    if session.attempt(lambda: session.conversation.cut(place, history_to_save(services))):
        ask(services, session, question)


def history_to_save(services: Services) -> Callable[[], History] | None:
    """Return where this session's conversations are saved, None if they are not."""
    return services.history if services.config.keep_conversations and not state.is_private() else None


def _start(services: Services, session: Session, question: str) -> None:
    conversation, history = session.conversation, history_to_save(services)
    session.generation = services.ask(
        Question(
            text=question,
            library=session.library,
            model=state.model(services.models.default()),
            documents=session.chosen or None,
            use_documents=state.uses_documents(),
            sampling=state.sampling(services.config),
            system_prompt=state.system_prompt(services.config),
            earlier=tuple(turn.answer for turn in conversation.turns),
        ),
        lambda answer: conversation.add(answer, history),
    )
    if history is not None:
        services.add_pending(PendingAnswer(conversation, session.generation))
    state.write_url(session, pending=history is not None)

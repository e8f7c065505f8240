"""Asks the shared services without a page."""

from __future__ import annotations

import time

from assistant.answering.answer import Answer
from assistant.config import Sampling
from streamlit_app.services import Question, Services
from tests.streamlit_app.pages import QUESTION


def question(text: str = QUESTION, **changes: object) -> Question:
    """Return a question to the default library, answered with quotes."""
    fields = {
        "text": text,
        "library": "default",
        "model": "quotes",
        "documents": None,
        "use_documents": True,
        "sampling": Sampling(),
        "system_prompt": "",
    }
    return Question(**{**fields, **changes})  # type: ignore[arg-type]


def answer(services: Services, asked: Question) -> Answer:
    """Return the answer to a question; fails if it takes a minute."""
    kept: list[Answer] = []
    generation = services.ask(asked, kept.append)
    end = time.monotonic() + 60
    while not generation.done:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert generation.failure is None, generation.failure
    return kept[0]

"""Reads and clicks a page that is drawn without a browser."""

from __future__ import annotations

import html
import re
from typing import Any

from streamlit.testing.v1 import AppTest

QUESTION = "How heavy is the heart of a blue whale?"
HEART = "Its heart weighs about 180 kilograms."


def ask(page: AppTest, question: str) -> AppTest:
    """Type a question and wait for the answer."""
    page.chat_input[0].set_value(question).run()
    assert not page.exception, page.exception
    return page


def texts(page: AppTest) -> list[str]:
    """Return the questions and answers on the page, in order."""
    bodies = [element.proto.body for element in page.get("html")]
    return [html.unescape(re.sub(r"<[^>]*>", "", body)) for body in bodies if 'class="quire-text"' in body]


def button(page: AppTest, part: str) -> Any:
    """Return the first button whose label contains a part, without Markdown escapes."""
    found = [b for b in page.button if part in b.label.replace("\\", "")]
    assert found, f"no button {part!r} among {[b.label for b in page.button]}"
    return found[0]


def labels(page: AppTest) -> list[str]:
    """Return the labels of all buttons, without Markdown escapes."""
    return [b.label.replace("\\", "") for b in page.button]


def words(page: AppTest) -> str:
    """Return all words on the page, without Markdown escapes."""
    kinds = (page.markdown, page.caption, page.info, page.warning, page.error, page.toast)
    return "\n".join(element.value for kind in kinds for element in kind).replace("\\", "")


def click(page: AppTest, part: str) -> AppTest:
    """Click a button by a part of its label."""
    button(page, part).click().run()
    assert not page.exception, page.exception
    return page


def view(page: AppTest, name: str) -> AppTest:
    """Open another view."""
    page.session_state["quire"].show_view(name)
    page.run()
    assert not page.exception, page.exception
    return page

import json

from assistant.conversations.history import Conversation, Turn
from assistant.conversations.transcript import conversation_as_json, conversation_as_markdown
from tests.assistant.conversations.helpers import QUESTION, an_answer

CONVERSATION = Conversation("1", QUESTION, "default", "2026-01-01", "2026-01-01", 1)
TURNS = [Turn("1", 0, "2026-01-01", an_answer())]


def test_an_export_as_json_has_the_citations():
    exported = json.loads(conversation_as_json(CONVERSATION, TURNS))
    assert exported["turns"][0]["citations"][0]["document"] == "moon.pdf"


def test_an_export_as_markdown_names_the_sources():
    exported = conversation_as_markdown(CONVERSATION, TURNS)
    assert "- [1] moon.pdf, page 1: “Its diameter is 3,474 kilometres.”" in exported


def test_an_export_as_markdown_tells_what_quire_matched_and_what_nothing_supports():
    answer = an_answer("The moon has no air. Its diameter is 9,999 kilometres.")
    exported = conversation_as_markdown(CONVERSATION, [Turn("1", 0, "2026-01-01", answer)])
    assert "- [1] moon.pdf, page 1, matched by quire: “The moon has no air.”" in exported
    assert "- Not supported by the passages: “Its diameter is 9,999 kilometres.”" in exported
    assert "- Closest to the question: [1] moon.pdf, page 1: “" in exported

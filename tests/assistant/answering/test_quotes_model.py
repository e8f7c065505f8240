import pytest
from langchain_core.messages import HumanMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from assistant.answering.prompt import REFUSAL, question_message
from assistant.answering.quotes_model import QuotesModel
from tests.assistant.helpers import CAPEX, MOON, passage


class TestQuotesModelUnit(ChatModelUnitTests):
    """LangChain's own unit suite for chat models."""

    @property
    def chat_model_class(self):
        return QuotesModel

    @property
    def has_tool_calling(self):
        return False

    @property
    def has_structured_output(self):
        return False


class TestQuotesModelIntegration(ChatModelIntegrationTests):
    """LangChain's own integration suite: what needs neither tools, structured output nor pictures."""

    @property
    def chat_model_class(self):
        return QuotesModel

    @property
    def has_tool_calling(self):
        return False

    @property
    def has_structured_output(self):
        return False

    @property
    def supports_image_inputs(self):
        return False


def test_it_quotes_the_passages_of_its_prompt():
    message = question_message("How large is the diameter of the moon?", [passage(CAPEX), passage(MOON)])
    reply = QuotesModel().invoke([HumanMessage(message.content)])
    assert "Its diameter is 3,474 kilometres." in reply.text
    assert reply.text.count("[1]") == reply.text.count("[2]") == 1


def test_without_passages_it_says_that_it_cannot_answer():
    assert QuotesModel().invoke("What is the capital of France?").text == REFUSAL


def test_its_pieces_make_up_its_answer():
    message = HumanMessage(question_message("moon?", [passage(MOON), passage(CAPEX)]).content)
    pieces = [chunk.text for chunk in QuotesModel().stream([message])]
    assert len(pieces) >= 2
    assert "".join(pieces) == QuotesModel().invoke([message]).text


@pytest.mark.parametrize(("settings", "reason"), [({"max_tokens": 5}, "length"), ({"stop": ["answer"]}, "stop")])
def test_it_stops_where_it_is_told_to(settings, reason):
    reply = QuotesModel(**settings).invoke("Anything?")
    assert REFUSAL.startswith(reply.text)
    assert len(reply.text) < len(REFUSAL)
    assert reply.response_metadata["finish_reason"] == reason

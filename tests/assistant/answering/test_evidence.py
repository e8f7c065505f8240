import pytest

from tests.assistant.helpers import MOON_QUESTION, make_agent


def test_only_the_documents_asked_for_are_used():
    answer = make_agent().ask("moon diameter and dividends", documents=["id-report.pdf"])
    assert {passage.document for passage in answer.passages} == {"report.pdf"}


@pytest.mark.parametrize("question", ["What about bananas?", "Who wrote that opera?", "Which aircraft does it fly?"])
def test_a_follow_up_that_the_documents_do_not_answer_is_refused_as_without_a_history(question):
    agent = make_agent()
    first = agent.ask(MOON_QUESTION)
    assert not first.refused
    for documents in (None, ["id-moon.pdf"]):
        assert agent.ask(question, documents=documents).refused
        assert agent.ask(question, documents=documents, history=[first]).refused


@pytest.mark.parametrize("question", ["yes", "why?", "and the diameter?", "Has anybody lived there, and is it far?"])
def test_a_follow_up_that_they_answer_is_not_refused(question):
    agent = make_agent()
    assert not agent.ask(question, history=[agent.ask(MOON_QUESTION)]).refused

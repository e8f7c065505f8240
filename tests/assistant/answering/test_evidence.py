import pytest

from assistant.answering.evidence import find_evidence
from assistant.retrieval.search import Passage
from tests.assistant.helpers import MOON_QUESTION, make_agent


def passage(rank: int, score: float) -> Passage:
    return Passage(rank, "a.pdf", "id-a", rank, str(rank), 0, 4, "Moon", score, f"chunk-{rank}")


def test_once_a_passage_passes_quotes_take_those_of_a_third_of_the_threshold_and_a_model_those_of_a_fifth():
    found = [passage(1, 0.5), passage(2, 0.16), passage(3, 0.09), passage(4, 0.07), passage(5, 0.05)]

    def ranks(quotes: bool, threshold: float = 0.3) -> list[int]:
        evidence = find_evidence("moon?", "moon?", lambda _: found, threshold=threshold, quotes=quotes)
        return [one.rank for one in evidence]

    assert ranks(quotes=True) == [1, 2]
    assert ranks(quotes=False) == [1, 2, 3, 4]
    assert ranks(quotes=True, threshold=0.6) == ranks(quotes=False, threshold=0.6) == []


def test_only_the_documents_asked_for_are_used():
    answer = make_agent().ask("dividends, not the moon", documents=["id-report.pdf"])
    assert {passage.document for passage in answer.passages} == {"report.pdf"}


@pytest.mark.parametrize("question", ["What about bananas?", "Who wrote that opera?", "Which aircraft does it fly?"])
def test_a_follow_up_that_the_documents_do_not_answer_is_refused_as_without_a_history(question):
    agent = make_agent()
    first = agent.ask(MOON_QUESTION)
    assert not first.refused
    for documents in (None, ["id-moon.pdf"]):
        assert agent.ask(question, documents=documents).refused
        assert agent.ask(question, documents=documents, history=[first]).refused


@pytest.mark.parametrize("question", ["yes", "why?", "and the diameter?", "and has anybody lived there?"])
def test_a_follow_up_that_they_answer_is_not_refused(question):
    agent = make_agent()
    assert not agent.ask(question, history=[agent.ask(MOON_QUESTION)]).refused

import pytest

from assistant.errors import QuestionsError
from assistant.evaluation.questions import Question
from assistant.evaluation.retrieval_metrics import evaluate_retrieval
from tests.assistant.evaluation.helpers import LIBRARY, QUESTIONS


def test_retrieval_counts_distinct_pages():
    result = evaluate_retrieval(LIBRARY, QUESTIONS, scope="shared", store="sqlite")
    assert result["questions"] == 3
    assert result["hit"] == {"1": 1.0, "3": 1.0, "5": 1.0, "10": 1.0}
    assert result["mrr"] == 1.0
    wrong = [Question("x", "moon.pdf", "diameter of the moon", "", (2,))]
    assert evaluate_retrieval(LIBRARY, wrong, scope="single", store="sqlite")["hit"]["1"] == 0


def test_a_question_of_an_unknown_document_is_named():
    with pytest.raises(QuestionsError, match=r"gone\.pdf"):
        evaluate_retrieval(LIBRARY, [Question("x", "gone.pdf", "?", "", (1,))], scope="single", store="sqlite")

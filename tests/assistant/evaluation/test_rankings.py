import pytest

from assistant.errors import QuestionsError
from assistant.evaluation.questions import Question
from assistant.evaluation.rankings import rank_questions
from tests.assistant.evaluation.helpers import LIBRARY


def test_each_question_has_the_rank_of_every_evidence_page():
    both = Question("x", "moon.pdf", "diameter of the moon, and the sun?", "", (1, 2, 2))
    rankings = rank_questions(LIBRARY, [both, Question("y", "", "no evidence", "", ())], scope="single")
    assert [ranking.ranks for ranking in rankings] == [[1, 2]]
    assert {document for document, _ in rankings[0].pages} == {"id-moon.pdf"}
    one = Question("z", "moon.pdf", "the diameter, in kilometres", "", (1, 2))
    assert rank_questions(LIBRARY, [one], scope="shared")[0].ranks == [1, None]


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (Question("x", "gone.pdf", "?", "", (1,)), r"gone\.pdf"),
        (Question("x", "", "?", "", (1,)), "question x has evidence pages but no document"),
        (Question("x", "moon.pdf", "?", "", ()), "no question names an evidence page"),
        (Question("x", "moon.pdf", "?", "", (1, 99)), r"evidence on page 99 of moon\.pdf, which has 2 pages"),
    ],
)
def test_a_question_that_cannot_be_measured_is_named(question, message):
    with pytest.raises(QuestionsError, match=message):
        rank_questions(LIBRARY, [question], scope="single")

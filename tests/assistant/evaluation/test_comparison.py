import json

import pytest

from assistant.errors import QuestionsError
from assistant.evaluation.comparison import compare_runs, mcnemar, smallest_difference
from assistant.evaluation.questions import Question
from assistant.evaluation.rankings import rank_questions
from assistant.evaluation.retrieval_metrics import summarize_retrieval
from assistant.evaluation.runs import read_run
from assistant.llm.model import wrap_chat_model
from tests.assistant.evaluation.helpers import LIBRARY, QUESTIONS, run
from tests.assistant.helpers import scripted


def save_retrieval(path, questions):
    rankings = rank_questions(LIBRARY, questions, scope="shared")
    summary = summarize_retrieval(rankings, scope="shared", store="sqlite", embedder="words")
    path.write_text(json.dumps({**summary, "library": "astronomy"}))
    return path


def test_two_runs_of_answers_are_compared_question_by_question(tmp_path):
    run(tmp_path / "a.jsonl")
    good = ["Its diameter is 3,474 kilometres [1].", "I don't know.", "I don't know."]
    run(tmp_path / "b.jsonl", wrap_chat_model(scripted(*good, *["x [9]"] * 9), name="model"), unanswerable=False)
    result = compare_runs(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert (result["questions"], result["only_in_first"]) == (3, 3)
    library = read_run(tmp_path / "a.jsonl")[0]["library_hash"]
    assert result["first"] == f"quotes, shared, library {library}"
    assert result["second"] == f"model, shared, library {library}"
    refusal = result["differences"]["false_refusal"]
    assert refusal["mean"] == pytest.approx(2 / 3, abs=1e-3)
    assert (refusal["won"], refusal["lost"], refusal["mcnemar_p"]) == (2, 0, 0.5)
    assert "won" not in result["differences"]["seconds"]


def test_two_runs_of_retrieval_are_compared_without_the_questions_that_changed(tmp_path):
    first = save_retrieval(tmp_path / "a.json", QUESTIONS)
    moved = Question("moon", "moon.pdf", QUESTIONS[0].question, "", (2,))
    changed = Question("sun", "moon.pdf", "another question about the sun", "", (2,))
    second = save_retrieval(tmp_path / "b.json", [moved, changed, QUESTIONS[2]])
    result = compare_runs(first, second)
    assert (result["questions"], result["changed_questions"]) == (2, 1)
    assert result["first"] == "words, shared, astronomy"
    hit = result["differences"]["hit@1"]
    assert (hit["mean"], hit["won"], hit["lost"], hit["mcnemar_p"]) == (-0.5, 0, 1, 1.0)
    assert compare_runs(first, first)["differences"]["recall@10"]["smallest_difference"] is None
    run(tmp_path / "answers.jsonl")
    with pytest.raises(QuestionsError, match="compare two runs of one command"):
        compare_runs(first, tmp_path / "answers.jsonl")


@pytest.mark.parametrize(
    "content",
    [
        b'{"id": "a", "question": "a question file"}\n',
        b'{"questions": 3, "scores": {}, "out": "the summary of a run"}\n',
        b'{"rows": []}\n',
        b'{}\n{"id": "half of a row',
        b"[1]\n",
        b"not JSON\n{}\n",
        b"%PDF-1.7 \xd0\xd4",
        b"",
    ],
)
def test_a_file_that_is_no_run_is_refused_with_what_to_give(tmp_path, content):
    run(tmp_path / "answers.jsonl")
    (tmp_path / "other").write_bytes(content)
    for pair in ((tmp_path / "other", tmp_path), (tmp_path, tmp_path / "other")):
        with pytest.raises(QuestionsError, match="other") as caught:
            compare_runs(*pair)
        assert caught.value.hint.startswith("give ")


@pytest.mark.parametrize(
    ("won", "lost", "exact", "mid"),
    [
        (0, 0, 1, 1),
        (5, 5, 1, 1),
        (6, 0, 0.03125, 0.015625),
        (0, 6, 0.03125, 0.015625),
        (8, 2, 112 / 1024, 67 / 1024),  # 2 * (1 + 10 + 45) / 1024
        (9, 1, 22 / 1024, 12 / 1024),
    ],
)
def test_mcnemar_is_the_exact_sign_test_of_the_pairs_that_changed(won, lost, exact, mid):
    assert mcnemar(won, lost) == pytest.approx((exact, mid))


@pytest.mark.parametrize(
    ("n", "changed", "points"),
    [(60, 9, 14), (60, 18, 19.8), (80, 12, 12.1), (150, 45, 12.5), (300, 45, 6.3), (800, 240, 5.4)],
)
def test_the_smallest_difference_is_that_of_the_power_of_80_percent(n, changed, points):
    differences = [1.0, -1.0] * (changed // 2) + [1.0] * (changed % 2) + [0.0] * (n - changed)
    found = smallest_difference(differences, [str(i) for i in range(n)])
    assert found is not None
    assert 100 * found == pytest.approx(points, abs=0.06)


def test_questions_that_change_together_show_less():
    differences = [1.0, 1.0, 1.0, -1.0, -1.0, -1.0]
    apart = smallest_difference(differences, list("abcdef"))
    together = smallest_difference(differences, list("aaabbb"))
    assert together == pytest.approx(apart * 3**0.5)
    assert smallest_difference(differences, list("abcabc")) == apart  # cancelling out inside a document is not believed
    assert smallest_difference([0.0, 0.0], ["a", "b"]) is None

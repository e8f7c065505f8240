import random

import pytest

from assistant.evaluation.questions import Question
from assistant.evaluation.rankings import Ranking, rank_questions
from assistant.evaluation.retrieval_metrics import (
    DEPTHS,
    METRICS,
    document_folds,
    document_mean,
    question_scores,
    retrieval_rows,
    summarize_retrieval,
)
from tests.assistant.evaluation.helpers import LIBRARY, QUESTIONS


def summarize(questions, scope="shared"):
    rankings = rank_questions(LIBRARY, questions, scope=scope)
    return summarize_retrieval(rankings, scope=scope, store="sqlite", embedder="words")


def random_rankings(count=60):
    """Rankings of up to 30 pages of two documents, with one to four evidence pages each."""
    chance = random.Random(7)
    pages = [(name, page) for name in ("a", "b") for page in range(1, 31)]
    for number in range(count):
        evidence = frozenset(chance.sample(pages, chance.randint(1, 4)))
        found = tuple(chance.sample(pages, chance.randint(0, 30)))
        yield Ranking(Question(f"q{number}", "a", "?", "", (1,)), evidence, found, 0.01)


def test_all_scores_of_random_runs_are_those_of_trec_eval_to_1e_9():
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rankings = list(random_rankings())
    qrels = {r.question.id: {f"{d}{p}": 1 for d, p in r.evidence} for r in rankings}
    run = {r.question.id: {f"{d}{p}": 100.0 - i for i, (d, p) in enumerate(r.pages)} for r in rankings}
    depths = ",".join(map(str, DEPTHS))
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {f"success.{depths}", "recip_rank", f"recall.{depths}"}).evaluate(
        run
    )
    names = {"hit@": "success_", "recall@": "recall_"}
    checked = 0
    for ranking in rankings:
        ours = question_scores(ranking.ranks)
        if not ranking.pages:
            assert set(ours.values()) == {0.0}  # trec_eval leaves out a query without results; it counts as 0 here
            continue
        for name, value in ours.items():
            key = "recip_rank" if name == "mrr" else name.replace("hit@", names["hit@"]).replace("recall@", "recall_")
            assert value == pytest.approx(theirs[ranking.question.id][key], abs=1e-9), (name, ranking)
            checked += 1
    assert checked > 500


def test_the_scores_of_a_question_with_three_evidence_pages_of_which_one_is_not_found():
    scores = question_scores([2, 4, None])
    assert (scores["hit@1"], scores["hit@3"], scores["mrr"]) == (0, 1, 0.5)
    assert [scores[f"recall@{k}"] for k in DEPTHS] == [0, 1 / 3, 2 / 3, 2 / 3, 2 / 3]
    assert set(question_scores([None]).values()) == {0.0}


def test_the_whole_set_is_shown_by_kind_and_by_document_beside_the_mean_over_documents():
    result = summarize(QUESTIONS)
    assert (result["questions"], result["documents"]) == (3, 2)
    assert result["hit"] == dict.fromkeys(("1", "3", "4", "5", "10"), 1.0)
    assert result["mrr"] == 1.0
    assert set(result["scores"]) == set(METRICS)
    assert {name: group["questions"] for name, group in result["by_document"].items()} == {
        "moon.pdf": 2,
        "report.pdf": 1,
    }
    wrong = [Question("x", "moon.pdf", "diameter of the moon, and the sun?", "", (2,), "hard"), *QUESTIONS[1:]]
    result = summarize(wrong)
    assert result["ranks"] == {"x": 2, "sun": 1, "capex": 1}
    assert result["by_type"]["hard"]["scores"]["hit@1"]["mean"] == 0
    assert result["scores"]["hit@1"]["mean"] == pytest.approx(2 / 3, abs=1e-4)
    assert result["scores"]["hit@1"]["document_mean"] == 0.75  # (1/2 + 1/1) / 2


def test_a_document_with_many_questions_counts_once_in_the_mean_over_documents():
    assert document_mean([1, 1, 1, 0], ["a", "a", "a", "b"]) == 0.5


def test_folds_keep_the_questions_of_a_document_together_and_are_balanced():
    documents = ["a"] * 9 + ["b"] * 4 + ["c"] * 3 + ["d"] * 2 + list("efghi")
    folds = document_folds(documents, 3)
    assert folds == document_folds(documents[::-1], 3)
    counts = [sum(folds[name] == fold for name in documents) for fold in range(3)]
    assert sorted(counts) == [7, 7, 9]
    rows = retrieval_rows(list(random_rankings(5)))
    assert {row["fold"] for row in rows} == {0}

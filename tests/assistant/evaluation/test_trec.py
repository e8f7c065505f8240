from assistant.evaluation.questions import Question
from assistant.evaluation.rankings import Ranking
from assistant.evaluation.trec import write_trec


def test_ids_hold_no_blank_and_scores_fall_strictly(tmp_path):
    ranking = Ranking(
        Question("q 1", "annual report.pdf", "?", "", (3,)), frozenset({("d", 3)}), (("d", 2), ("d", 3)), 0.0
    )
    write_trec(tmp_path, [ranking], {"d": "annual report.pdf"}, "quire shared")
    assert (tmp_path / "run.txt").read_text() == (
        "q%201 Q0 annual%20report.pdf#p2 1 2 quire%20shared\nq%201 Q0 annual%20report.pdf#p3 2 1 quire%20shared\n"
    )
    assert (tmp_path / "qrels.txt").read_text() == "q%201 0 annual%20report.pdf#p3 1\n"

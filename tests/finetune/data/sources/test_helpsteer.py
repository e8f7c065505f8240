from finetune.data.sources.loader import load_data
from tests.finetune.data.sources.rows import write


def test_helpsteer_pairs_the_best_with_the_worst_answer_to_a_prompt(tmp_path):
    def row(prompt, response, helpful, correct):
        return {"prompt": prompt, "response": response, "helpfulness": helpful, "correctness": correct,
                "coherence": 4, "complexity": 0, "verbosity": 4}  # fmt: skip

    rows = [row("P", "mid", 2, 2), row("P", "B", 0, 1), row("P", "A", 4, 3), row("Q", "x", 1, 1), row("Q", "y", 1, 1)]
    loaded = load_data(write(tmp_path, rows))
    assert loaded.format == "helpsteer"
    assert [(r.chosen[0].content, r.rejected[0].content) for r in loaded.records] == [("A", "B")]
    assert (loaded.rows, loaded.kept) == (5, 3)
    assert [(p.row, p.problem) for p in loaded.problems] == [
        (4, "all answers have the same rank"), (5, "all answers have the same rank")]  # fmt: skip

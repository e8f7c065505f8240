import pytest

from assistant.evaluation.runs import compare_runs
from assistant.llm.model import wrap_chat_model
from tests.assistant.evaluation.helpers import run
from tests.assistant.helpers import scripted


def test_two_runs_are_compared_question_by_question(tmp_path):
    run(tmp_path / "a.jsonl")
    good = ["Its diameter is 3,474 kilometres [1].", "I don't know.", "I don't know."]
    run(tmp_path / "b.jsonl", wrap_chat_model(scripted(*good, *["x [9]"] * 9), name="model"), unanswerable=False)
    result = compare_runs(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert (result["questions"], result["only_in_first"]) == (3, 3)
    assert (result["first"], result["second"]) == ("quotes, shared", "model, shared")
    assert result["differences"]["false_refusal"]["mean"] == pytest.approx(2 / 3, abs=1e-3)

import pytest

from assistant.evaluation.judge import parse_verdict
from assistant.evaluation.runs import summarize_run
from assistant.llm.model import wrap_chat_model
from tests.assistant.evaluation.helpers import QUESTIONS, run
from tests.assistant.helpers import scripted


def test_a_reply_without_a_verdict_is_counted_as_a_failure_of_the_judge(tmp_path):
    model = wrap_chat_model(scripted(*["Its diameter is 3,474 kilometres [1]."] * 6), name="model")
    judge = wrap_chat_model(scripted("YES", "Maybe.", "<think>no</think> Yes.", "no"), name="judge")
    rows = run(tmp_path / "a.jsonl", model, QUESTIONS[:2], judge=judge, unanswerable=False)
    assert [(row["judged_correct"], row["judged_faithful"], row["judge_failed"]) for row in rows] == [
        (True, None, True),
        (True, False, False),
    ]
    assert summarize_run(rows)["judge_failures"] == 0.5


@pytest.mark.parametrize(
    ("text", "expected"), [("Yes", True), ("NO.", False), ("First yes, but no", False), ("Nothing", None), ("", None)]
)
def test_a_verdict_is_the_last_yes_or_no(text, expected):
    assert parse_verdict(text) is expected

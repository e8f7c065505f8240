import pytest

from assistant.evaluation.judge import parse_verdict
from assistant.evaluation.runs import summarize_run
from assistant.llm.model import wrap_chat_model
from tests.assistant.evaluation.helpers import QUESTIONS, run
from tests.assistant.helpers import scripted


def test_a_reply_without_a_verdict_is_counted_as_a_failure_of_the_judge(tmp_path):
    model = wrap_chat_model(scripted(*["Its diameter is 3,474 kilometres [1]."] * 6), name="model")
    judge = wrap_chat_model(scripted("YES", "Maybe.", "yes", "<think>no</think> Yes.", "no", "no"), name="judge")
    rows = run(tmp_path / "a.jsonl", model, QUESTIONS[:2], judge=judge, unanswerable=False)
    assert [(row["judged_correct"], row["judged_faithful"], row["judge_failed"]) for row in rows] == [
        (True, None, True),
        (True, False, False),
    ]
    assert [row["judged_citation_recall"] for row in rows] == [1, 0]
    # the second answer is about another page: its citation was taken off, so there is none to judge
    assert [row["judged_citation_precision"] for row in rows] == [1, None]
    assert summarize_run(rows)["judge_failures"] == 0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes", True),
        ("NO.", False),
        ("YES. There is no difference.", True),
        ("No, the expected answer says yes.", False),
        ("**NO** - yes would be wrong", False),
        ("No because yes is not stated", False),
        ("Verdict: yes", True),
        ("The final answer differs.\n\nVerdict: NO\n", False),
        ("There is no difference, so YES", True),
        ("No difference: YES", True),
        ("First yes, but no", False),
        ("<think>No. Wait, no.</think>\nYes", True),
        ("It says no. Really no.</think> Yes.", True),
        ("<think>yes", None),
        ("There is no difference between the two.", None),
        ("Yesterday", None),
        ("Nothing", None),
        ("", None),
    ],
)
def test_a_verdict_leads_stands_alone_or_ends_the_reply(text, expected):
    assert parse_verdict(text) is expected


def test_errors_of_the_judge_are_counted_and_do_not_end_the_run(tmp_path):
    model = wrap_chat_model(scripted(*["Its diameter is 3,474 kilometres [1]."] * 6), name="model")
    judge = wrap_chat_model(
        scripted(RuntimeError("CUDA out of memory"), "yes", "yes", KeyError("x"), "There is no fault.", "Fine."),
        name="judge",
    )
    rows = run(tmp_path / "a.jsonl", model, QUESTIONS[:2], judge=judge, unanswerable=False)
    assert [(row["judged_correct"], row["judged_faithful"]) for row in rows] == [(None, True), (None, None)]
    assert [row["judge_errors"] for row in rows] == [["RuntimeError: CUDA out of memory"], ["KeyError: 'x'"]]
    assert rows[1]["judge_replies"]["judged_faithful"] == "There is no fault."
    summary = summarize_run(rows)
    assert (summary["judge_failures"], summary["judge_malformed"], summary["judge_errors"]) == (1.0, 1, 2)
    assert rows[1]["judged_citation_recall"] == 0  # without a citation there is nothing to ask the judge

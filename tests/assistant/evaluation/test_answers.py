import pytest

from assistant.errors import AssistantError
from assistant.evaluation.runs import read_run, summarize_run
from assistant.llm.model import wrap_chat_model
from tests.assistant.evaluation.helpers import run
from tests.assistant.helpers import scripted


def test_quotes_are_verbatim_from_the_evidence_page_and_other_questions_are_refused(tmp_path):
    result = summarize_run(run(tmp_path / "answers.jsonl"))
    scores = {name: score["mean"] for name, score in result["scores"].items()}
    assert scores["cited_page"] == scores["citations_prompted"] == scores["quotes_verbatim"] == 1.0
    assert scores["false_refusal"] == 0
    assert scores["right_refusal"] == 1.0
    assert scores["numeric_match"] == 1.0
    assert (result["questions"], result["unanswerable"]) == (3, 3)
    assert result["threshold"] | {"value": 0.3, "false_refusals": 0.0, "right_refusals": 1.0} == result["threshold"]


def test_a_killed_run_resumes_where_it_ended(tmp_path):
    path = tmp_path / "answers.jsonl"
    whole = run(path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:40])
    chat = scripted()
    assert len(read_run(path)) == 2
    again = run(path)
    assert [row["id"] for row in again] == [row["id"] for row in whole]
    assert len(read_run(path)) == 6
    run(path)  # nothing is asked: all lines are there
    assert chat.calls == []


def test_a_run_of_another_model_is_not_continued(tmp_path):
    run(tmp_path / "answers.jsonl")
    with pytest.raises(AssistantError, match="another folder with --out"):
        run(tmp_path / "answers.jsonl", wrap_chat_model(scripted(), name="other"))

import json

import pytest

from assistant.config import AssistantConfig
from assistant.errors import AssistantError, QuestionsError
from assistant.evaluation.evaluate import Question, compare, read_questions, read_run, retrieval, run_answers, summary
from assistant.evaluation.judge import verdict
from assistant.evaluation.report import failures, html
from assistant.llm import quotes_model, wrap
from ingest.library import Library
from ingest.store import Identity
from tests.assistant.helpers import PagesStore, WordEmbedder, scripted

QUESTIONS = [
    Question("moon", "moon.pdf", "What is the diameter of the moon?", "3,474 kilometres", (1,)),
    Question("sun", "moon.pdf", "How long does light of the sun take to the earth?", "eight minutes", (2,)),
    Question("capex", "report.pdf", "What were purchases of property, plant and equipment?", "$1577", (60,)),
]
CONFIG = AssistantConfig(threshold=0.3)


class IdentifiedStore(PagesStore):
    def identity(self):
        return Identity("words", "1", 512, True, "", "", 500, 75)


LIBRARY = Library("test", IdentifiedStore(), WordEmbedder())


def run(path, model=None, questions=QUESTIONS, **options):
    return run_answers(LIBRARY, questions, model or quotes_model(CONFIG), CONFIG, path, scope="shared", **options)


def test_retrieval_counts_distinct_pages():
    result = retrieval(LIBRARY, QUESTIONS, scope="shared", store="sqlite")
    assert result["questions"] == 3
    assert result["hit"] == {"1": 1.0, "3": 1.0, "5": 1.0, "10": 1.0}
    assert result["mrr"] == 1.0
    wrong = [Question("x", "moon.pdf", "diameter of the moon", "", (2,))]
    assert retrieval(LIBRARY, wrong, scope="single", store="sqlite")["hit"]["1"] == 0


def test_a_question_of_an_unknown_document_is_named():
    with pytest.raises(QuestionsError, match=r"gone\.pdf"):
        retrieval(LIBRARY, [Question("x", "gone.pdf", "?", "", (1,))], scope="single", store="sqlite")


def test_quotes_cite_the_evidence_page_word_for_word_and_refuse_the_rest(tmp_path):
    result = summary(run(tmp_path / "answers.jsonl"))
    scores = {name: score["mean"] for name, score in result["scores"].items()}
    assert scores["cited_page"] == scores["citations_prompted"] == scores["quotes_verbatim"] == 1.0
    assert scores["false_refusal"] == 0
    assert scores["right_refusal"] == 1.0
    assert scores["numeric_match"] == 1.0
    assert (result["questions"], result["unanswerable"]) == (3, 3)
    assert result["threshold"] | {"value": 0.3, "false_refusals": 0.0, "right_refusals": 1.0} == result["threshold"]


def test_a_run_goes_on_where_it_was_killed(tmp_path):
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


def test_a_file_of_another_model_is_not_mixed(tmp_path):
    run(tmp_path / "answers.jsonl")
    with pytest.raises(AssistantError, match="give another file with --out"):
        run(tmp_path / "answers.jsonl", wrap(scripted(), name="other"))


def test_a_judge_says_yes_or_no_and_its_silence_is_counted(tmp_path):
    model = wrap(scripted(*["Its diameter is 3,474 kilometres [1]."] * 6), name="model")
    judge = wrap(scripted("YES", "Maybe.", "<think>no</think> Yes.", "no"), name="judge")
    rows = run(tmp_path / "a.jsonl", model, QUESTIONS[:2], judge=judge, unanswerable=False)
    assert [(row["judged_correct"], row["judged_faithful"], row["judge_failed"]) for row in rows] == [
        (True, None, True),
        (True, False, False),
    ]
    assert summary(rows)["judge_failures"] == 0.5


@pytest.mark.parametrize(
    ("text", "expected"), [("Yes", True), ("NO.", False), ("First yes, but no", False), ("Nothing", None), ("", None)]
)
def test_a_verdict_is_the_last_yes_or_no(text, expected):
    assert verdict(text) is expected


def test_two_runs_are_compared_question_by_question(tmp_path):
    run(tmp_path / "a.jsonl")
    good = ["Its diameter is 3,474 kilometres [1].", "I don't know.", "I don't know."]
    run(tmp_path / "b.jsonl", wrap(scripted(*good, *["x [9]"] * 9), name="model"), unanswerable=False)
    result = compare(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert (result["questions"], result["only_in_first"]) == (3, 3)
    assert (result["first"], result["second"]) == ("quotes, shared", "model, shared")
    assert result["differences"]["false_refusal"]["mean"] == pytest.approx(2 / 3, abs=1e-3)


def test_the_report_shows_each_failure_beside_its_page_and_escapes_what_it_shows(tmp_path):
    model = wrap(scripted("It is 5 [1]. a<b", "I don't know.", "It is 6 [1]."), name="<model>")
    rows = run(tmp_path / "a.jsonl", model, unanswerable=False)
    page = html(summary(rows), rows, lambda document, page: f"<page {page} of {document}>")
    assert [bool(failures(row)) for row in rows] == [True, True, True]
    assert "refused, though the documents hold the answer" in page
    assert "&lt;page 60 of report.pdf&gt;" in page
    assert "<model>" not in page


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2"),
        ('{"id": 1}', "KeyError: 'question'"),
        ('{"question": "?", "evidence": [{"page": "x"}]}', "line 2"),
    ],
)
def test_a_question_file_that_cannot_be_used_names_the_line(tmp_path, line, message):
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps({"question": "?"}) + "\n" + line + "\n")
    with pytest.raises(QuestionsError, match=message):
        read_questions(path)


def test_a_question_file_without_questions_is_refused(tmp_path):
    (tmp_path / "q.jsonl").write_text("\n")
    with pytest.raises(QuestionsError, match="one question a line"):
        read_questions(tmp_path / "q.jsonl")

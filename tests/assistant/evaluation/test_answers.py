import pytest

from assistant.errors import AssistantError, ModelUnreachable
from assistant.evaluation.questions import Question
from assistant.evaluation.report import failures
from assistant.evaluation.runs import read_run, summarize_run
from assistant.llm.model import wrap_chat_model
from tests.assistant.evaluation.helpers import QUESTIONS, run
from tests.assistant.helpers import scripted


def test_quotes_cite_the_evidence_page_and_other_questions_are_refused(tmp_path):
    result = summarize_run(run(tmp_path / "answers.jsonl"))
    scores = {name: score["mean"] for name, score in result["scores"].items()}
    assert scores["cited_page"] == scores["evidence_prompted"] == 1.0
    assert not {"citation_recall", "citation_precision", "citations_true"} & scores.keys()  # of quotes: no measurement
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


def test_one_failed_question_ends_no_run_and_is_asked_again_by_the_next(tmp_path):
    path = tmp_path / "answers.jsonl"
    good = "Its diameter is 3,474 kilometres [1]."
    model = wrap_chat_model(scripted(good, ModelUnreachable("no server", "start one"), KeyError("x")), name="model")
    rows = run(path, model, unanswerable=False)
    assert [row["error"].partition(":")[0] for row in rows] == ["", "ModelUnreachable", "KeyError"]
    assert "no server" in failures(rows[1])[0]
    result = summarize_run(rows)
    assert (result["failed"], result["scores"]["seconds"]["n"]) == (2, 1)
    assert result["first_error"].startswith("ModelUnreachable")
    chat = scripted("eight minutes [1]", "1,577 [1]")
    again = run(path, wrap_chat_model(chat, name="model"), unanswerable=False)
    assert len(chat.calls) == 2
    assert [row["error"] for row in again] == ["", "", ""]
    assert len(read_run(path)) == 3


def test_several_workers_answer_at_the_same_time_and_an_interrupted_run_is_resumed(tmp_path):
    path = tmp_path / "answers.jsonl"
    questions = [Question(str(i), "moon.pdf", "What is the diameter of the moon?", "3,474", (1,)) for i in range(8)]

    def interrupt(done, total, name):
        if done == 3:
            raise KeyboardInterrupt

    first = scripted(*["3,474 [1]"] * 8, pause=0.05)
    with pytest.raises(KeyboardInterrupt):
        run(path, wrap_chat_model(first, name="m"), questions, unanswerable=False, workers=2, progress=interrupt)
    assert len(read_run(path)) == 3
    assert 3 <= len(first.calls) <= 5  # what was being asked when it was interrupted, and nothing more
    second = scripted(*["3,474 [1]"] * 5, pause=0.05)
    notes = []
    rows = run(path, wrap_chat_model(second, name="m"), questions, unanswerable=False, workers=2, notify=notes.append)
    assert len(second.calls) == 5
    assert [row["id"] for row in rows] == [question.id for question in questions]
    assert notes[0].startswith("3 of 8 answers are those of")


def test_a_row_keeps_what_the_model_wrote_and_how_long_it_took_to_the_first_word(tmp_path):
    written = "<think>Hm.</think>It is 3,474 kilometres [1][9]."
    rows = run(tmp_path / "a.jsonl", wrap_chat_model(scripted(written), name="m"), QUESTIONS[:1], unanswerable=False)
    assert rows[0]["raw"] == written
    assert rows[0]["answer"] == "It is 3,474 kilometres [1]."
    assert 0 < rows[0]["first_token_seconds"] <= rows[0]["seconds"]
    assert (rows[0]["citation_recall"], rows[0]["citation_precision"], rows[0]["citations_true"]) == (1, 1, 0.5)
    assert rows[0]["token_f1"] == pytest.approx(2 * 2 / (2 + 4))


def test_a_question_without_evidence_and_answer_is_asked_of_its_document_or_of_the_one_named(tmp_path):
    own = Question("own", "report.pdf", "What is the diameter of the moon?", "", ())
    none = Question("none", "", "What is the diameter of the moon?", "", ())
    rows = run(tmp_path / "a.jsonl", None, [own, none, QUESTIONS[0]], document="report.pdf", unanswerable=False)
    assert [(row["answerable"], row["document"]) for row in rows] == [
        (False, "report.pdf"),
        (False, "report.pdf"),
        (True, "moon.pdf"),
    ]
    result = summarize_run(rows)
    assert result["scores"]["right_refusal"]["mean"] == 1.0
    assert (result["questions"], result["unanswerable"], result["threshold"]["auroc"]) == (1, 2, 1.0)
    asked_of_all = run(tmp_path / "b.jsonl", None, [none], unanswerable=False)
    assert asked_of_all[0]["right_refusal"] is False  # moon.pdf has the answer


@pytest.mark.parametrize(
    ("answerable", "unanswerable", "auroc"),
    [
        ([0.9, 0.8], [0.1], 1.0),
        ([0.1], [0.2, 0.3], 0.0),
        ([0.5], [0.5], 0.5),
        ([0.2, 0.6], [0.4, 0.2], 0.625),
        ([], [0.1], None),
    ],
)
def test_auroc_is_the_share_of_pairs_in_the_right_order(answerable, unanswerable, auroc):
    rows = [
        {
            "answerable": kind,
            "best_score": score,
            "error": "",
            "judged": False,
            "model": "m",
            "scope": "s",
            "judge": "",
            "threshold": 0.3,
        }
        for kind, scores in ((True, answerable), (False, unanswerable))
        for score in scores
    ]
    assert summarize_run(rows)["threshold"]["auroc"] == auroc

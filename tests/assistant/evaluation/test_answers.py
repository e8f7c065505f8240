from dataclasses import replace

import pytest

from assistant.errors import AssistantError, ModelUnreachable
from assistant.evaluation.answers import run_answers
from assistant.evaluation.questions import Question
from assistant.evaluation.report import failures
from assistant.evaluation.runs import read_run, summarize_run, threshold_sentence
from assistant.llm.kinds import quotes
from assistant.llm.model import wrap_chat_model
from ingest.library import Library
from tests.assistant.evaluation.helpers import CONFIG, QUESTIONS, IdentifiedStore, run
from tests.assistant.helpers import PAGES, WordEmbedder, scripted


def test_quotes_cite_the_evidence_page_and_other_questions_are_refused(tmp_path):
    result = summarize_run(run(tmp_path / "answers.jsonl"))
    scores = {name: score["mean"] for name, score in result["scores"].items()}
    assert scores["cited_page"] == scores["evidence_prompted"] == 1.0
    assert not {"citation_recall", "citation_precision", "citations_true"} & scores.keys()  # of quotes: no measurement
    assert scores["false_refusal"] == 0
    assert scores["right_refusal"] == 1.0
    assert scores["numeric_match"] == 1.0
    assert (result["questions"], result["unanswerable"], result["without_document"]) == (3, 3, 3)
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
    assert notes == [f"used again from {path}: 3 of 8 answers, of the same question, documents, settings and code"]


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
    assert result["scores"]["right_refusal"] == result["scores"]["unanswerable_refused"]
    assert result["scores"]["right_refusal"]["mean"] == 1.0
    assert (result["questions"], result["unanswerable"], result["threshold"]["auroc"]) == (1, 2, 1.0)
    assert result["without_document"] == 0
    asked_of_all = run(tmp_path / "b.jsonl", None, [none], unanswerable=False)
    assert asked_of_all[0]["right_refusal"] is False  # moon.pdf has the answer


def test_refusals_of_unanswerable_questions_and_of_questions_without_their_document_are_told_apart(tmp_path):
    none = Question("none", "", "What is the diameter of the moon?", "", ())  # asked of all documents, so not refused
    scores = summarize_run(run(tmp_path / "a.jsonl", None, [none, QUESTIONS[0]]))["scores"]
    means = {name: score["mean"] for name, score in scores.items() if name.endswith(("_refused", "right_refusal"))}
    assert means == {"right_refusal": 0.5, "unanswerable_refused": 0.0, "without_document_refused": 1.0}


def test_a_library_of_one_document_and_its_copies_has_no_question_without_it_and_that_is_said(tmp_path):
    class Copies(IdentifiedStore):
        def documents(self):
            return [replace(document, sha256="same bytes") for document in super().documents()]

    pages = {("moon.pdf", 1): PAGES["moon.pdf", 1], ("copy.pdf", 1): PAGES["moon.pdf", 1]}
    library = Library("test", Copies(pages), WordEmbedder())
    notes: list[str] = []
    rows = run_answers(
        library, QUESTIONS[:1], quotes(CONFIG), CONFIG, tmp_path / "a.jsonl", scope="single", notify=notes.append
    )
    assert [row["answerable"] for row in rows] == [True]
    assert notes == ["1 question could not be asked without the document: the library has no other one"]


@pytest.mark.parametrize(
    ("false_refusals", "right_refusals", "sentence"),
    [
        (
            0.1,
            0.5,
            "Threshold 0.3: 10.0% of the answerable questions and 50.0% of the unanswerable questions score below it.",
        ),
        (0.1, None, "Threshold 0.3: 10.0% of the answerable questions score below it."),
        (None, None, "Threshold 0.3: no questions score below it."),
    ],
)
def test_the_threshold_sentence_speaks_only_of_questions_that_there_were(false_refusals, right_refusals, sentence):
    threshold = {"value": 0.3, "false_refusals": false_refusals, "right_refusals": right_refusals, "auroc": None}
    assert threshold_sentence(threshold) == sentence


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

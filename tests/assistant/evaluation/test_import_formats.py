import json

import pytest

from assistant.errors import QuestionsError
from assistant.evaluation.import_formats import READERS, read_samples
from tests.assistant.evaluation.helpers import run


def write_lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_pages_of_financebench_count_from_0_and_its_documents_are_pdfs(tmp_path):
    row = {
        "financebench_id": "financebench_id_1",
        "doc_name": "3M_2018_10K",
        "question_type": "metrics-generated",
        "question": "What is the capex?",
        "answer": "$1577.00",
        "evidence": [{"evidence_text": "...", "doc_name": "3M_2018_10K", "evidence_page_num": 59}],
    }
    (sample,) = read_samples(write_lines(tmp_path / "fb.jsonl", row), "financebench")
    assert sample.evidence == (("3M_2018_10K.pdf", 60),)
    assert (sample.id, sample.answer, sample.question_type) == ("financebench_id_1", "$1577.00", "metrics-generated")


def test_beir_judgments_above_zero_are_evidence_and_ids_that_name_no_page_are_refused(tmp_path):
    write_lines(tmp_path / "queries.jsonl", {"_id": "q%201", "text": "warranty?"}, {"_id": "q2", "text": "weight?"})
    (tmp_path / "qrels").mkdir()
    qrels = tmp_path / "qrels" / "dev.tsv"
    qrels.write_text("query-id\tcorpus-id\tscore\nq%201\tmy%20pump.pdf#p2\t1\nq%201\tother.pdf#p3\t0\n")
    first, second = read_samples(tmp_path, "beir")
    assert (first.id, first.evidence, second.evidence) == ("q 1", (("my pump.pdf", 2),), ())
    qrels.write_text("query-id\tcorpus-id\tscore\nq2\tMED-10\t1\n")
    with pytest.raises(QuestionsError, match=r"line 2.*does not judge a page"):
        read_samples(tmp_path, "beir")


def test_ragtruth_gives_the_verdict_of_people_on_answers_to_questions_only(tmp_path):
    info = {"question": "who?", "passages": "passage 1:It was Ann.\n\npassage 2:Nobody knows.\n"}
    write_lines(
        tmp_path / "source_info.jsonl",
        {"source_id": "1", "task_type": "QA", "source_info": info},
        {"source_id": "2", "task_type": "Summary", "source_info": "a text"},
    )
    write_lines(
        tmp_path / "response.jsonl",
        {"id": "a", "source_id": "1", "response": "Ann.", "labels": []},
        {
            "id": "b",
            "source_id": "1",
            "response": "Bob.",
            "labels": [{"start": 0, "end": 3, "label_type": "Evident Conflict"}],
        },
        {"id": "c", "source_id": "2", "response": "Short.", "labels": []},
    )
    samples = read_samples(tmp_path, "ragtruth")
    assert [(sample.id, sample.faithful) for sample in samples] == [("a", True), ("b", False)]
    assert samples[0].contexts == (("1", "It was Ann."), ("2", "Nobody knows."))


def test_ragas_and_deepeval_are_read_from_lines_and_from_a_json_list(tmp_path):
    ragas = {
        "user_input": "q?",
        "retrieved_contexts": ["text"],
        "reference_context_ids": ["a.pdf#p3", "x"],
        "reference": "r",
    }
    (sample,) = read_samples(write_lines(tmp_path / "r.jsonl", ragas), "ragas")
    assert (sample.id, sample.evidence, sample.contexts) == ("r:1", (("a.pdf", 3),), (("", "text"),))
    path = tmp_path / "d.json"
    path.write_text(
        json.dumps([{"input": "q?", "actual_output": "a", "expected_output": "e", "retrieval_context": None}])
    )
    (sample,) = read_samples(path, "deepeval")
    assert (sample.question, sample.response, sample.answer, sample.contexts) == ("q?", "a", "e", ())


def test_a_run_of_answers_has_the_passages_that_the_model_was_given(tmp_path):
    run(tmp_path / "answers.jsonl")
    notes: list[str] = []
    samples = read_samples(tmp_path, "answers", notes.append)  # the folder of the run
    assert [sample.id for sample in samples] == ["moon", "sun", "capex"]
    assert notes == ["3 rows left out: an unanswerable question, one asked without its document, or one that failed"]
    assert read_samples(tmp_path / "answers.jsonl", "answers") == samples
    assert samples[0].evidence == (("moon.pdf", 1),)
    assert any("3,474 kilometres" in text for _, text in samples[0].contexts)


@pytest.mark.parametrize("source", [name for name in READERS if name not in ("questions", "beir", "ragtruth")])
def test_a_row_of_another_format_is_named(tmp_path, source):
    with pytest.raises(QuestionsError, match="row 1 has no '"):
        read_samples(write_lines(tmp_path / "x.jsonl", {"something": "else"}), source)
    (tmp_path / "x.jsonl").write_text("no json\n")
    with pytest.raises(QuestionsError, match="is not JSON"):
        read_samples(tmp_path / "x.jsonl", source)

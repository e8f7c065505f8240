import json

import pytest

from assistant.errors import QuestionsError
from assistant.evaluation.export_formats import write_beir, write_deepeval, write_questions, write_ragas
from assistant.evaluation.import_formats import Sample, read_samples
from assistant.evaluation.questions import read_questions
from tests.assistant.evaluation.helpers import LIBRARY

MOON = Sample("moon 1", "How wide is the moon?", "3,474 km", "fact", (("moon.pdf", 1), ("moon.pdf", 2)))
ASKED = Sample("b", "Who?", "Ann", response="Bob", contexts=(("moon.pdf#p1", "The moon"),), faithful=False)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_question_file_holds_one_document_a_question_and_says_what_it_lost(tmp_path):
    path = tmp_path / "q.jsonl"
    two = Sample("c", "?", evidence=(("a.pdf", 1), ("b.pdf", 2)))
    assert write_questions(path, [MOON, ASKED, two]) == [
        "1 question lost evidence in a second document",
        "1 question without evidence pages",
    ]
    moon, asked, third = read_questions(path)
    assert (moon.document, moon.pages, moon.question_type, moon.answer) == ("moon.pdf", (1, 2), "fact", "3,474 km")
    assert (asked.document, asked.pages, third.pages) == ("", (), (1,))


def test_ragas_rows_are_read_back_and_keep_the_human_verdict(tmp_path):
    path = tmp_path / "r.jsonl"
    assert write_ragas(path, [MOON, ASKED]) == ["1 question without an answer of a model"]
    first, second = lines(path)
    assert first["reference_context_ids"] == ["moon.pdf#p1", "moon.pdf#p2"]
    assert "faithful" not in first
    assert (second["retrieved_context_ids"], second["faithful"]) == (["moon.pdf#p1"], False)
    assert read_samples(path, "ragas")[0].evidence == MOON.evidence


def test_deepeval_rows_are_read_back(tmp_path):
    path = tmp_path / "d.jsonl"
    write_deepeval(path, [ASKED])
    assert lines(path) == [
        {
            "name": "b",
            "input": "Who?",
            "actual_output": "Bob",
            "expected_output": "Ann",
            "retrieval_context": ["The moon"],
        }
    ]
    assert read_samples(path, "deepeval")[0].response == "Bob"


def test_a_beir_folder_has_every_page_and_is_read_back(tmp_path):
    assert write_beir(tmp_path, [MOON], LIBRARY) == ["1 answer left out: BEIR has no place for them"]
    corpus = {row["_id"]: row["text"] for row in lines(tmp_path / "corpus.jsonl")}
    assert set(corpus) == {"moon.pdf#p1", "moon.pdf#p2", "report.pdf#p60", "report.pdf#p61", "evil.pdf#p1"}
    assert "3,474 kilometres" in corpus["moon.pdf#p1"]
    (sample,) = read_samples(tmp_path, "beir")
    assert (sample.id, sample.evidence) == ("moon 1", MOON.evidence)
    with pytest.raises(QuestionsError, match=r"page 9 of gone\.pdf has no text"):
        write_beir(tmp_path, [Sample("x", "?", evidence=(("gone.pdf", 9),))], LIBRARY)

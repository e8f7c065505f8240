import json

import pytest

from assistant.errors import QuestionsError
from assistant.evaluation.questions import read_question_files, read_questions


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
    with pytest.raises(QuestionsError, match="one question per line"):
        read_questions(tmp_path / "q.jsonl")


def test_two_questions_of_one_id_are_refused_within_a_file_and_between_files(tmp_path):
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    one.write_text('{"id": "a", "question": "?"}\n{"question": "no id"}\n')
    two.write_text('{"question": "no id either"}\n{"question": "nor this"}\n')
    assert [question.id for question in read_question_files([one, two])] == ["a", "one:2", "two:1", "two:2"]
    two.write_text('{"id": "a", "question": "another"}\n')
    with pytest.raises(QuestionsError, match=r"two questions have the id 'a'"):
        read_question_files([one, two])
    one.write_text('{"id": "a", "question": "?"}\n{"id": "a", "question": "!"}\n')
    with pytest.raises(QuestionsError, match="give each question its own id"):
        read_questions(one)

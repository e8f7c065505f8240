import json

import pytest

from assistant.errors import QuestionsError
from assistant.evaluation.questions import read_questions


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

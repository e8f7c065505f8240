import json

import pytest

from assistant.errors import QuestionsError
from assistant.evaluation.questions import Question, read_question_files, read_questions


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "is not JSON: Expecting property name"),
        ('["id"]', "it is no JSON object"),
        ('{"id": 1}', '"question" is missing or empty'),
        ('{"question": " "}', '"question" is missing or empty'),
        ('{"question": ["?"]}', r'"question" is \["\?"\], not text'),
        ('{"question": "?", "answer": true}', '"answer" is true, not text'),
        ('{"question": "half \\ud800"}', '"question" has half of a surrogate pair'),
        ('{"question": "?", "evidence": {"page": 1}}', '"evidence" is {"page": 1}, not a list'),
        ('{"question": "?", "evidence": [3]}', '"evidence" has 3: a page is a whole number'),
        ('{"question": "?", "evidence": [{"page": "1"}]}', '{"page": "1"}: a page is a whole number'),
        ('{"question": "?", "evidence": [{"page": true}]}', "a page is a whole number"),
        ('{"question": "?", "evidence": [{"page": 0}]}', "the first page is 1"),
        (
            '{"question": "?", "document": "a.pdf", "evidence": [{"page": 1, "document": "b.pdf"}]}',
            'evidence in "b.pdf": all evidence of a question is in its own document',
        ),
    ],
)
def test_a_line_that_cannot_be_used_is_named_with_what_is_wrong(tmp_path, line, message):
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps({"question": "?"}) + "\n\n" + line + "\n")
    with pytest.raises(QuestionsError, match=f"q.jsonl, line 3.*{message}") as caught:
        read_questions(path)
    assert caught.value.hint.startswith("write one JSON object a line: {")


def test_a_byte_order_mark_blank_lines_and_numbers_for_text_are_read(tmp_path):
    path = tmp_path / "q.jsonl"
    row = '{"id": 0, "document": "a.pdf", "question": "?", "answer": 8.9, "evidence": [{"page": 2}, {"page": 2}]}'
    path.write_bytes(b"\xef\xbb\xbf" + row.encode() + b"\r\n\r\n  \n")
    assert read_questions(path) == [Question("0", "a.pdf", "?", "8.9", (2,))]
    path.write_bytes("?".encode("utf-16"))
    with pytest.raises(QuestionsError, match="is not UTF-8 text"):
        read_questions(path)


def test_fields_that_are_not_used_are_named_once_a_file(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "a", "evidnce": []}\n{"question": "b", "evidnce": [], "source": "x"}\n')
    notes: list[str] = []
    assert len(read_question_files([path], notes.append)) == 2
    assert notes == [f"{path} has fields that are not used: evidnce (2 lines), source (1 line)"]


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

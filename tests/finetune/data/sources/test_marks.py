import pytest

from finetune.data.sources.loader import load_data
from finetune.errors import UnknownFormat
from tests.finetune.data.sources.rows import write

CHAT = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
BASES = [
    {"prompt": "Q", "response": "A"}, {"prompt": "Q", "completion": "A"}, {"instruction": "Q", "output": "A"},
    {"conversations": CHAT}, {"messages": CHAT}, {"question": "Q", "response": "A"},
]  # fmt: skip


def labels(tmp_path, base, values, name="label", **options):
    rows = [{**base, name: value} for value in values]
    return [
        getattr(record, "label", None) for record in load_data(write(tmp_path, rows), strict=False, **options).records
    ]


@pytest.mark.parametrize("base", BASES)
def test_a_label_marks_answers_in_every_format(tmp_path, base):
    assert labels(tmp_path, base, [True, False]) == [True, False]
    assert len(labels(tmp_path, base, [True, False, True], task="sft")) == 2
    assert labels(tmp_path, base, [1.0, 0.0], task="label") == [True, False]


@pytest.mark.parametrize(("name", "values"), [
    ("label", ["True", "False"]), ("label", ["desirable", "undesirable"]), ("label", ["chosen", "rejected"]), ("is_good", [1, 0]),
    ("thumbs_up", [True, False]), ("thumbs_down", [False, True]), ("Desirable", ["yes", "no"]), ("feedback", ["👍", "👎"]),
    ("kto_tag", [1.0, 0.0]), ("accepted", ["1", "0"]), ("thumb", ["up", "down"]), ("downvote", [0, 1]), ("is_bad", [0, 1]), ("label", [1, -1]),
])  # fmt: skip
def test_marks_have_many_names_and_words(tmp_path, name, values):
    assert labels(tmp_path, {"prompt": "Q", "completion": "A"}, values, name) == [True, False]


@pytest.mark.parametrize(("name", "values"), [
    ("label", [0, 1, 2]), ("label", ["billing", "delivery"]), ("feedback", ["It was too long.", "Fine."]), ("score", [0, 1]),
    ("labels", [["a"], ["b"]]),
])  # fmt: skip
def test_a_topic_or_a_grade_is_no_mark(tmp_path, name, values):
    path = write(tmp_path, [{"messages": CHAT, name: value} for value in values])
    loaded = load_data(path, task="sft")
    assert (loaded.format, loaded.kept, loaded.unread) == ("messages", len(values), [name])


@pytest.mark.parametrize("values", [[0, 1], ["0", "1"], ["positive", "negative"]])
def test_numbers_beside_messages_are_refused_by_sft_and_read_by_kto(tmp_path, values):
    rows = [{"messages": CHAT, "label": value} for value in values]
    path = write(tmp_path, rows)
    with pytest.raises(UnknownFormat, match=r"may mark answers or be a topic.*true and false into `label`"):
        load_data(path, task="sft")
    assert len(load_data(path, format="messages", task="sft").records) == 2
    assert len(load_data(path, task="label").records) == 2
    assert "may mark answers" in load_data(path).sentences()[0]


@pytest.mark.parametrize(("name", "values"), [
    ("opinion", ["up", "down"]), ("what they said", ["Good", "bad", None]), ("outcome", ["accepted", "rejected"]),
    ("human_label", ["positive", "negative"]),
])  # fmt: skip
def test_words_that_mark_answers_are_refused_by_sft_under_any_name(tmp_path, name, values):
    path = write(tmp_path, [{"instruction": "Q", "output": "A", name: value} for value in values])
    with pytest.raises(UnknownFormat, match=f"`{name}` has the values .*may mark answers"):
        load_data(path, task="sft")
    assert [record.label for record in load_data(path, task="label", strict=False).records] == [True, False]


@pytest.mark.parametrize("row", [{"output": "good"}, {"output": "A", "tone": "good"}, {"output": "A", "done": True}])
def test_an_answer_that_is_such_a_word_and_one_word_for_all_are_no_marks(tmp_path, row):
    rows = [{"instruction": "Q", **row}, {"instruction": "Q", **row, **({"output": "bad"} if len(row) == 1 else {})}]
    assert load_data(write(tmp_path, rows), task="sft").format == "alpaca"


def test_an_answer_without_a_mark_and_an_unwanted_one_are_named(tmp_path):
    path = write(tmp_path, [{"prompt": "Q", "completion": "A", "label": value} for value in (True, None, False)])
    loaded = load_data(path, task="sft")
    assert [(p.row, p.kind, p.dropped) for p in loaded.problems] == [(2, "empty", True), (3, "unwanted", True)]
    assert loaded.kept == 1

"""A field that is missing or of another type is a malformed row that names it, in every format."""

import pytest

from finetune.data.sources.detect import FORMATS
from finetune.data.sources.loader import load_data
from finetune.errors import MalformedRow
from tests.finetune.data.sources.rows import write
from tests.finetune.data.sources.test_formats import CHAT, PAIRS, SFT

HELPSTEER = {"prompt": "Q", "response": "A", "helpfulness": 3, "correctness": 2}
MESSAGE = {"message_id": "1", "parent_id": None, "text": "Q", "role": "prompter"}
EXAMPLES = [
    *((name, row) for name, row, _ in (*SFT, *PAIRS)),
    ("kto", {"messages": CHAT, "label": True}), ("kto", {"instruction": "Q", "output": "A", "kto_tag": True}),
    ("text", {"text": "a"}), ("helpsteer", HELPSTEER), ("oasst", MESSAGE), ("oasst", {"prompt": MESSAGE}),
]  # fmt: skip
OTHER_VALUES = (None, 7, 0.5, True, [], [None], [7], ["a"], [{}], {}, {"a": 1}, "", "a", "nan")


@pytest.mark.parametrize("name", FORMATS)
def test_a_row_without_the_fields_of_its_format_names_one(tmp_path, name):
    path = write(tmp_path, [{"other": 1}])
    with pytest.raises(MalformedRow, match=r"rows\.jsonl, line 1: .*(`\w+`|tree)"):
        load_data(path, format=name)
    (problem,) = load_data(path, format=name, strict=False).problems
    assert (problem.row, problem.kind, problem.dropped) == (1, "malformed", True)


@pytest.mark.parametrize(("name", "row"), EXAMPLES)
def test_no_value_of_a_field_is_a_traceback(tmp_path, name, row):
    changed = [{**row, field: value} for field in row for value in OTHER_VALUES]
    changed += [{key: value for key, value in row.items() if key != field} for field in row]
    found = load_data(write(tmp_path, changed), format=name, strict=False)
    assert found.rows == len(changed)
    assert found.problems


def test_a_value_inside_a_list_is_never_a_traceback(tmp_path):
    rated = {"response": "a", "annotations": {"helpfulness": {"Rating": "nan"}}}
    rows = {
        "ultrafeedback": [{"instruction": "Q", "completions": [item, item]} for item in (rated, {**rated, "annotations": [1]}, 7)],
        "ranked": [{"prompt": "Q", "responses": ["a", "b"], "ranks": ranks} for ranks in ([1, None], ["x", 2], [1])],
    }  # fmt: skip
    for name, lines in rows.items():
        found = load_data(write(tmp_path, lines), format=name, strict=False)
        assert (found.kept, len(found.problems)) == (0, len(lines)), name
    assert "`ranks` must be a number, found None" in [problem.problem for problem in load_data(
        write(tmp_path, rows["ranked"]), format="ranked", strict=False).problems]  # fmt: skip


def test_the_group_of_a_written_row_is_read(tmp_path):
    rows = [{"text": "a", "split_group": "tree 1"}, {"text": "b", "split_group": 7}, {"text": "c"}]
    assert [record.group for record in load_data(write(tmp_path, rows)).records] == ["tree 1", "", ""]

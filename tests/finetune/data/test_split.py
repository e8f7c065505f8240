import pytest

from finetune.data.split import split
from quire import UsageError
from tests.finetune.data.conversations import talks


def test_a_split_never_divides_a_group():
    train, held_out = split(talks("a", 200, groups=20), held_out=0.2)
    assert len(train) + len(held_out) == 200
    assert 40 <= len(held_out) < 60
    assert {r.group for r in train} & {r.group for r in held_out} == set()


def test_rows_with_one_prompt_stay_together():
    twice = talks("a", 50) + talks("a", 50)
    train, held_out = split(twice, held_out=0.3)
    assert {r.messages for r in train} & {r.messages for r in held_out} == set()


def test_a_split_does_not_depend_on_the_order_of_the_rows():
    rows = talks("a", 100)
    assert {r.row for r in split(rows, held_out=0.1).held_out} == {
        r.row for r in split(rows[::-1], held_out=0.1).held_out
    }


def test_a_fraction_outside_its_range_is_rejected():
    with pytest.raises(UsageError, match="from 0 to below 1"):
        split(talks("a", 3), held_out=1.0)


def test_a_limit_is_never_exceeded_and_keeps_groups_whole():
    train, held_out = split(talks("a", 200, groups=20), held_out=0.2, limit=25)
    assert len(held_out) == 20 and len(train) == 180  # two groups of ten; a third would be too many
    assert {r.group for r in train} & {r.group for r in held_out} == set()
    assert len(split(talks("a", 200), held_out=0.2, limit=1000).held_out) == 40

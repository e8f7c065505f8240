import pytest

from finetune.data.mix import mix
from finetune.data.records import Conversation
from finetune.data.split import split
from finetune.templates.messages import Message
from quire import UsageError


def talks(source, count, groups=None):
    return [
        Conversation((Message("user", f"{source} {n}"), Message("assistant", "a")), source, n,
                     f"{source}{n % groups}" if groups else "")
        for n in range(count)
    ]  # fmt: skip


def test_a_mixture_has_the_shares_asked_for_and_reports_them():
    mixture = mix({"a": talks("a", 60), "b": talks("b", 100)}, {"a": 3, "b": 1})
    assert [(s.name, s.rows, s.realised) for s in mixture.shares] == [("a", 60, 0.75), ("b", 20, 0.25)]
    assert sum(r.source == "a" for r in mixture.records) == 60


def test_no_row_is_used_twice():
    mixture = mix({"a": talks("a", 30), "b": talks("b", 1000)}, {"a": 1, "b": 1})
    assert [s.rows for s in mixture.shares] == [30, 30]
    assert len({(r.source, r.row) for r in mixture.records}) == 60


def test_the_same_seed_gives_the_same_mixture():
    parts, weights = {"a": talks("a", 50), "b": talks("b", 50)}, {"a": 1, "b": 2}
    first, second, other = (mix(parts, weights, seed=s).records for s in (1, 1, 2))
    assert first == second != other


def test_a_weight_without_a_set_is_refused():
    with pytest.raises(UsageError, match=r"only one of them for \['c'\]"):
        mix({"a": talks("a", 1)}, {"a": 1, "c": 1})


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


def test_an_impossible_fraction_is_refused():
    with pytest.raises(UsageError, match="from 0 to below 1"):
        split(talks("a", 3), held_out=1.0)

import pytest

from finetune.data.mix import mix
from quire import UsageError
from tests.finetune.data.conversations import talks


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


def test_a_weight_without_a_data_set_is_rejected():
    with pytest.raises(UsageError, match=r"one of them is missing for \['c'\]"):
        mix({"a": talks("a", 1)}, {"a": 1, "c": 1})

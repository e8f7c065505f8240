import pytest

from assistant.evaluation.statistics import mean, paired_difference


def test_a_mean_is_within_its_interval_and_more_values_narrow_it():
    few, many = mean([1, 0, 1, 1]), mean([1, 0, 1, 1] * 50)
    assert few.mean == many.mean == 0.75
    assert few.low < many.low < 0.75 < many.high < few.high
    assert mean([]) is None
    assert (mean([1, 1]).low, mean([1, 1]).high) == (1, 1)


def test_a_paired_difference_is_second_minus_first():
    assert paired_difference([0, 0, 1], [1, 1, 1]).mean == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="3 values against 1"):
        paired_difference([1, 1, 1], [1])

import argparse

import pytest

from assistant.evaluation.minimum import Condition, failed_conditions, parse_condition


def test_a_condition_is_a_score_and_a_bound():
    assert parse_condition("hit@5>=0.8") == Condition("hit@5", False, 0.8)
    assert parse_condition(" false_refusal <= .1 ") == Condition("false_refusal", True, 0.1)


@pytest.mark.parametrize("text", ["hit@5", "hit@5>0.8", "hit@5>=", ">=0.8", "hit@5>=much"])
def test_a_text_that_states_no_bound_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="write a score and a value"):
        parse_condition(text)


def test_a_bound_is_met_by_equality_and_by_no_score_that_is_missing():
    scores = {"hit@5": {"mean": 0.8}, "false_refusal": {"mean": 0.2}}
    met = [Condition("hit@5", False, 0.8), Condition("false_refusal", True, 0.2)]
    assert failed_conditions(met, scores) == []
    failed = [Condition("hit@5", False, 0.81), Condition("false_refusal", True, 0.1), Condition("mrr", False, 0.0)]
    assert failed_conditions(failed, scores) == [
        "hit@5 is 0.8000, and must be at least 0.81",
        "false_refusal is 0.2000, and must be at most 0.1",
        "mrr was not measured, and must be at least 0",
    ]

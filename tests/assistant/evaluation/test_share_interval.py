import numpy as np
import pytest

from assistant.evaluation.share_interval import share_interval
from benchmarks.coverage import share_coverage


@pytest.mark.parametrize(("documents", "questions"), [(27, 3), (12, 17)])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_interval_holds_the_share_in_93_to_97_percent(documents, questions, share):
    assert 0.93 <= share_coverage(documents, questions, share, correlation=0.2, samples=250) <= 0.97


def test_the_share_of_questions_is_inside_also_where_one_document_has_most_of_them():
    counts = np.array([112.0, 43, 23, 8, 5, 4, 3, 2, 1, 1, 1, 1])
    hits = np.array([89.0, 41, 8, 8, 4, 3, 2, 1, 1, 0, 0, 1])
    low, high = share_interval(hits, counts)
    assert 0.35 < low < 158 / 204 < high < 0.92


def test_more_documents_narrow_the_interval_down_to_a_thousandth():
    few = share_interval(np.full(10, 3.0), np.full(10, 3.0))
    many = share_interval(np.full(1000, 3.0), np.full(1000, 3.0))
    assert few[1] == many[1] == 1
    assert few[0] < 0.95 < 0.995 < many[0]


def test_no_hit_mirrors_no_miss():
    counts = np.array([2.0, 3, 4])
    none, all_hits = share_interval(0 * counts, counts), share_interval(counts, counts)
    assert none == (pytest.approx(1 - all_hits[1], abs=1e-3), pytest.approx(1 - all_hits[0], abs=1e-3))

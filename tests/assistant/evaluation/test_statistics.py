import tracemalloc

import numpy as np
import pytest

from assistant.evaluation.statistics import _student, mean, paired_difference


def test_a_mean_is_within_its_interval_and_more_values_narrow_it():
    few, many = mean([1, 0, 1, 1]), mean([1, 0, 1, 1] * 50)
    assert few.mean == many.mean == 0.75
    assert few.low < many.low < 0.75 < many.high < few.high
    assert mean([]) is None


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(0, 59, 0, 0.0611), (59, 59, 0.9389, 1), (7, 10, 0.3968, 0.8922), (50, 100, 0.4038, 0.5962)],
)
def test_a_share_of_independent_questions_has_the_interval_of_wilson(hits, n, low, high):
    score = mean([1] * hits + [0] * (n - hits))
    assert (score.low, score.high, score.method) == (
        pytest.approx(low, abs=5e-5),
        pytest.approx(high, abs=5e-5),
        "wilson",
    )


def test_questions_that_agree_within_their_document_count_as_one_each():
    values = [1, 1, 1, 1, 0, 0, 0, 0] * 5
    documents = [f"{index // 4}.pdf" for index in range(40)]
    together, alone = mean(values, documents), mean(values)
    assert (together.documents, alone.documents) == (10, 40)
    ten = mean([1, 0] * 5)
    assert together.high - together.low >= ten.high - ten.low > 1.7 * (alone.high - alone.low)
    assert mean(values, [""] * 40) == alone


def test_a_share_without_any_miss_is_limited_by_the_documents_and_not_the_questions():
    documents = [f"{index // 17}.pdf" for index in range(12 * 17)]
    assert mean([True] * 204).low == pytest.approx(0.9815, abs=5e-4)
    assert mean([True] * 204, documents).low == pytest.approx(0.848, abs=5e-3)


def test_seconds_are_resampled_by_document_and_a_paired_difference_too():
    documents = ["a", "a", "a", "b", "b", "b", "c", "c", "c"]
    seconds = [1.5, 1.5, 1.5, 5, 5, 5, 9, 9, 9]
    together, alone = mean(seconds, documents), mean(seconds)
    assert (together.method, alone.method) == ("t", "bootstrap")
    assert together.high - together.low > 1.2 * (alone.high - alone.low)
    assert paired_difference([0] * 9, seconds, documents) == together
    many = [f"{index // 2}.pdf" for index in range(18)]
    assert mean(seconds * 2, many).method == "bootstrap"


def test_two_documents_say_little_about_others_also_where_they_agree_within_themselves():
    few = mean([0.4, 0.4, 0.6, 0.6], ["a", "a", "b", "b"])
    assert (few.method, few.low, few.high) == ("t", 0.0, 1.0)  # 0.5 +- 12.7 * 0.1
    seconds = mean([4.0, 4.0, 6.0, 6.0], ["a", "a", "b", "b"])
    assert (seconds.low, seconds.high) == (pytest.approx(-7.706, abs=1e-3), pytest.approx(17.706, abs=1e-3))


def test_a_paired_difference_is_second_minus_first():
    assert paired_difference([0, 0, 1], [1, 1, 1]).mean == pytest.approx(2 / 3)
    assert paired_difference([], []) is None
    with pytest.raises(ValueError, match="3 values against 1"):
        paired_difference([1, 1, 1], [1])
    with pytest.raises(ValueError, match="2 values of 1 documents"):
        mean([1, 0], ["a"])


@pytest.mark.parametrize(("freedom", "quantile"), [(1, 12.706), (2, 4.303), (3, 3.182), (11, 2.201), (26, 2.056)])
def test_the_quantile_of_student_is_that_of_the_tables(freedom, quantile):
    assert _student(freedom) == pytest.approx(quantile, abs=0.02)


@pytest.mark.parametrize(("documents", "questions"), [(27, 3), (12, 17), (4, 10)])
def test_the_interval_over_documents_covers_a_mean_in_93_to_97_percent(documents, questions):
    random = np.random.default_rng(8)
    names = [str(document) for document in range(documents) for _ in range(questions)]
    covered = []
    for _ in range(700):
        values = random.normal(scale=0.5, size=(documents, 1)) + random.normal(size=(documents, questions))
        score = mean(values.ravel().tolist(), names)
        covered.append(score.low <= 0 <= score.high)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_the_memory_of_an_interval_does_not_grow_with_the_samples_times_the_questions():
    values = np.random.default_rng(9).random(15_000).tolist()
    tracemalloc.start()
    mean(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 << 20  # 2,000 samples of 15,000 numbers are 240 MB


def test_counts_that_are_all_0_are_no_share():
    assert mean([0] * 9, share=False).method == "bootstrap"
    assert mean([0] * 9).method == "wilson"

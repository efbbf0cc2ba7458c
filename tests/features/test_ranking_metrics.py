"""Metrics against hand arithmetic; intervals: seeded, by whole units, paired."""

from __future__ import annotations

import numpy as np
import pytest

from features.arrays import F32
from features.ranking_metrics import coverage, gini, mean, of_counts, per_request, resamples, self_information

ROOT2 = 1 / np.log2(3)
"""Discount of the second place."""


def _one(*ranks: int) -> dict[str, float]:
    metrics = per_request(np.array(ranks), np.zeros(len(ranks), np.int64), 1)
    return {name: float(values[0]) for name, values in metrics.items()}


def test_everything_is_one_when_the_positives_are_on_top() -> None:
    assert set(_one(0, 1, 2).values()) == {1.0}


def test_everything_but_the_whole_list_metrics_is_zero_beyond_the_cutoff() -> None:
    found = _one(10)
    assert {found[m] for m in ("recall@5", "recall@10", "ndcg@10", "hit@10")} == {0.0}
    assert found["mrr"] == found["map"] == pytest.approx(1 / 11)


def test_recall_divides_by_all_positives() -> None:
    """Two of three within five, all three within ten."""
    found = _one(1, 4, 7)
    assert found["recall@5"] == pytest.approx(2 / 3)
    assert found["recall@10"] == 1


def test_a_cutoff_counts_places_from_zero() -> None:
    """The fifth place is inside the first five, the sixth is not."""
    assert (_one(4)["hit@5"], _one(5)["hit@5"]) == (1, 0)


def test_ndcg_discounts_by_place_and_normalises_by_the_best_order() -> None:
    """Places 1 and 3: (1/log2(3) + 1/log2(5)) over (1 + 1/log2(3))."""
    assert _one(1, 3)["ndcg@5"] == pytest.approx((ROOT2 + 1 / np.log2(5)) / (1 + ROOT2))


def test_ndcg_of_more_positives_than_places_can_still_be_one() -> None:
    assert _one(*range(7))["ndcg@5"] == pytest.approx(1)


def test_average_precision_is_the_mean_precision_at_the_positives() -> None:
    """Places 0, 2, 5: (1/1 + 2/3 + 3/6) / 3, in whatever order they are given."""
    assert _one(5, 0, 2)["map"] == pytest.approx((1 + 2 / 3 + 3 / 6) / 3)


def test_requests_do_not_mix() -> None:
    """Request 0 has its positives at 0 and 9, request 1 at 3; given interleaved."""
    found = per_request(np.array([9, 3, 0]), np.array([0, 1, 0]), 2)
    assert found["mrr"].tolist() == [1, 0.25]
    assert found["recall@5"].tolist() == [0.5, 1]
    assert found["map"].tolist() == pytest.approx([(1 + 2 / 10) / 2, 0.25])


def test_a_request_without_positives_is_refused() -> None:
    with pytest.raises(ValueError, match="no recall"):
        per_request(np.array([0]), np.array([1]), 2)


def test_what_half_of_the_users_read_surprises_by_one_bit() -> None:
    """(1 + 1) / (3 + 1), and nobody of seven: 1/8."""
    assert self_information(np.array([1]), 3)[0] == 1
    assert self_information(np.array([0]), 7)[0] == 3


def test_coverage_is_the_share_that_is_ever_shown() -> None:
    assert coverage(np.array([3.0, 0, 1, 0]), 4) == 0.5


@pytest.mark.parametrize(("counts", "value"), [([2, 2, 2, 2], 0), ([0, 0, 0, 4], 0.75), ([1, 3], 0.25)])
def test_gini_of_known_distributions(counts: list[float], value: float) -> None:
    """[1, 3]: mean absolute difference over all ordered pairs 1, over twice the mean 4: 1/4."""
    assert gini(np.array(counts, float)) == pytest.approx(value)


def drawn(units: int, seed: int) -> F32:
    return resamples(units, np.random.default_rng(seed))


WEIGHTS = drawn(50, seed=1)


def test_equal_seeds_draw_equal_resamples_of_all_units() -> None:
    assert (drawn(50, seed=1) == WEIGHTS).all()
    assert (WEIGHTS.sum(axis=1) == 50).all()
    assert (drawn(50, seed=2) != WEIGHTS).any()


def test_the_value_is_the_mean_over_requests_not_over_units() -> None:
    """One unit with three requests of 1, one with one of 0."""
    assert mean(np.array([1.0, 1, 1, 0]), np.array([0, 0, 0, 1]), drawn(2, 1)).value == 0.75


def test_the_interval_of_a_mean_is_about_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(3).normal(size=50)
    estimate = mean(values, np.arange(50), WEIGHTS)
    width = 2 * 1.96 * values.std() / np.sqrt(50)
    assert estimate.high - estimate.low == pytest.approx(width, rel=0.1)
    assert estimate.low < estimate.value < estimate.high


def test_requests_of_one_unit_that_are_all_alike_count_once() -> None:
    values = np.random.default_rng(3).normal(size=50)
    each_thrice = mean(np.repeat(values, 3), np.repeat(np.arange(50), 3), WEIGHTS)
    once = mean(values, np.arange(50), WEIGHTS)
    assert (each_thrice.low, each_thrice.high) == pytest.approx((once.low, once.high))


def test_a_paired_difference_leaves_out_what_both_share() -> None:
    """One system is better by exactly 0.01 everywhere, which the spread of requests would drown if it were not paired."""
    second = np.random.default_rng(4).normal(size=50)
    estimate = mean((second + 0.01) - second, np.arange(50), WEIGHTS)
    assert (estimate.low, estimate.high) == pytest.approx((0.01, 0.01))


def test_intervals_of_coverage_hold_the_value() -> None:
    """Every unit shows one thing of its own: each resample covers less than the whole, yet the interval lies around it."""
    estimate = of_counts(np.eye(50), WEIGHTS, lambda shown: coverage(shown, 50))
    assert estimate.value == 1
    assert estimate.low < 1 < estimate.high

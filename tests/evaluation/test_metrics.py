"""Metrics against hand arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.metrics import coverage, gini, per_request, self_information

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

"""The shared formulas: right by hand, and the same bits however many rows are computed at once."""

from __future__ import annotations

import numpy as np
import pytest

from features import formulas


def test_gather_mean_is_the_mean_over_present_entries() -> None:
    values = np.array([0.5, 1.5, 4.0], np.float32)
    index = np.array([[0, 1], [2, -1], [-1, -1]], np.int32)
    assert formulas.gather_mean(values, index, default=9.0).tolist() == [1.0, 4.0, 9.0]  # (.5 + 1.5) / 2, 4 / 1, none


def test_gather_takes_the_last_value_for_absent() -> None:
    assert formulas.gather(np.array([1, 2, 7], np.float32), np.array([1, -1, 0], np.int32)).tolist() == [2.0, 7.0, 1.0]


def test_scatter_max_keeps_the_greatest() -> None:
    rows, values = np.array([2, 0, 2], np.int32), np.array([0.3, 0.2, 0.9], np.float32)
    assert formulas.scatter_max(3, rows, values).tolist() == np.array([0.2, 0, 0.9], np.float32).tolist()


def test_exact_sum_adds_in_any_order_to_the_same_bits() -> None:
    values = np.random.default_rng(2).normal(0, 100, 500).astype(np.float32)
    sums = {formulas.exact_sum(np.random.default_rng(seed).permutation(values)) for seed in range(20)}
    assert len(sums) == 1
    assert sums.pop() == pytest.approx(values.sum(dtype=np.float64), rel=1e-6)
    assert formulas.exact_sum(np.empty(0, np.float32)) == 0


def test_scatter_sum_adds_in_any_order_to_the_same_bits() -> None:
    rows, values = np.array([2, 0, 2], np.int32), np.array([0.25, 0.5, 0.5], np.float32)
    assert formulas.scatter_sum(3, rows, values).tolist() == [0.5, 0.0, 0.75]
    rng = np.random.default_rng(3)
    rows, values = rng.integers(0, 5, 1000).astype(np.int32), rng.random(1000).astype(np.float32)
    order = rng.permutation(1000)
    assert (formulas.scatter_sum(5, rows, values) == formulas.scatter_sum(5, rows[order], values[order])).all()


def test_the_read_gap_is_to_the_nearest_read() -> None:
    hour = 3_600_000_000
    published = np.array([0, 10, 14, 15, 16, 30, 9000]) * hour
    read_at = np.array([10, 20]) * hour
    assert formulas.read_gap_h(published, read_at).tolist() == [10, 0, 4, 5, 4, 10, 8760]
    assert formulas.read_gap_h(published, read_at[:0]).tolist() == [8760.0] * 7
    rng = np.random.default_rng(1)
    published, read_at = rng.integers(0, 1000, 500), np.sort(rng.integers(0, 1000, 30))
    by_hand = np.abs(published[:, None] - read_at).min(axis=1)
    assert (formulas.read_gap_h(published, read_at) == (by_hand / 3.6e9).astype(np.float32)).all()


def test_recency_halves_with_every_half_life_and_the_future_counts_as_now() -> None:
    day_us = 86_400_000_000
    hours = formulas.age_hours(np.array([10 * day_us, 9 * day_us, 11 * day_us]), 10 * day_us)
    assert hours.tolist() == [0.0, 24.0, 0.0]
    assert formulas.recency(hours, half_life_h=24.0).tolist() == [1.0, 0.5, 1.0]


@pytest.mark.parametrize("factors", [0, 1, 32, 33])
def test_dot_has_the_same_bits_in_any_batch(factors: int) -> None:
    rng = np.random.default_rng(5)
    columns = rng.normal(size=(factors, 20_000)).astype(np.float32)
    vector = rng.normal(size=factors).astype(np.float32)
    whole = formulas.dot(columns, vector)
    alone = np.concatenate(
        [formulas.dot(np.ascontiguousarray(columns[:, i : i + 1]), vector) for i in range(0, 20_000, 997)]
    )
    assert whole[::997].tobytes() == alone.tobytes()
    assert np.allclose(whole, vector @ columns, atol=1e-4)


def test_gather_mean_and_recency_have_the_same_bits_in_any_batch() -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(size=50).astype(np.float32)
    index = rng.integers(-1, 50, (1000, 4)).astype(np.int32)
    hours = rng.random(1000, dtype=np.float32) * 1000
    for whole, one in (
        (formulas.gather_mean(values, index), lambda i: formulas.gather_mean(values, index[i : i + 1])),
        (formulas.recency(hours), lambda i: formulas.recency(hours[i : i + 1])),
    ):
        assert whole.tobytes() == np.concatenate([one(i) for i in range(1000)]).tobytes()

"""Intervals: seeded, by whole units, paired."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.bootstrap import difference, mean, of_counts, resamples
from evaluation.metrics import coverage

WEIGHTS = resamples(50, seed=1)


def test_equal_seeds_draw_equal_resamples_of_all_units() -> None:
    assert (resamples(50, seed=1) == WEIGHTS).all()
    assert (WEIGHTS.sum(axis=1) == 50).all()
    assert (resamples(50, seed=2) != WEIGHTS).any()


def test_the_value_is_the_mean_over_requests_not_over_units() -> None:
    """One unit with three requests of 1, one with one of 0."""
    assert mean(np.array([1.0, 1, 1, 0]), np.array([0, 0, 0, 1]), resamples(2, 1)).value == 0.75


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
    estimate = difference(second + 0.01, second, np.arange(50), WEIGHTS)
    assert (estimate.low, estimate.high) == pytest.approx((0.01, 0.01))


def test_intervals_of_coverage_hold_the_value() -> None:
    """Every unit shows one thing of its own: each resample covers less than the whole, yet the interval lies around it."""
    estimate = of_counts(np.eye(50), WEIGHTS, lambda shown: coverage(shown, 50))
    assert estimate.value == 1
    assert estimate.low < 1 < estimate.high

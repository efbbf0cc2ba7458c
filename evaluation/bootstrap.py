"""Intervals by resampling whole units (users, days), because the requests of one unit are alike.

Efron and Tibshirani, "An introduction to the bootstrap", 1993: percentile intervals, clusters drawn with replacement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESAMPLES = 1000
"""Enough for the ends of a 95 % interval: 25 resamples lie beyond each."""
CONFIDENCE = 0.95
TWO_SIDED = 1.959963984540054
"""97.5 % of a normal distribution lie below."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


def resamples(units: int, seed: int, times: int = RESAMPLES) -> Floats:
    """float64[times, units]: how often each unit is drawn in each resample; rows sum to `units`."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(units, np.full(units, 1.0 / units), times).astype(np.float64)


def mean(values: Floats, unit: Ints, weights: Floats) -> Estimate:
    """Mean over requests, units resampled: values float64[r], unit int64[r], weights of `resamples`.

    A resample's mean is the sum of its values over the number of its requests, so that busy units count as they do in the
    value itself.
    """
    units = weights.shape[1]
    sums, counts = np.bincount(unit, values, units), np.bincount(unit, minlength=units)
    drawn = (weights @ sums) / (weights @ counts)
    return percentile(float(values.mean()), drawn)


def difference(first: Floats, second: Floats, unit: Ints, weights: Floats) -> Estimate:
    """Mean of `first - second` over the same requests: both see the same resamples, which pairs them."""
    return mean(first - second, unit, weights)


def percentile(value: float, drawn: Floats) -> Estimate:
    """`value` between the percentiles of what was drawn."""
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high))


def of_counts(shown: Floats, weights: Floats, statistic: Callable[[Floats], Floats]) -> Estimate:
    """A statistic of what all lists together show: shown float64[units, n] is how often each unit shows each thing.

    A resample shows less variety than the whole, since a unit drawn twice brings nothing new; percentiles would lie beside
    the value. So: the value ± 1.96 standard deviations of the resamples (of those where it is defined). NaN where the
    statistic is not defined.
    """
    value = float(statistic(shown.sum(axis=0)))
    drawn = statistic(weights @ shown)
    spread = TWO_SIDED * float(np.std(drawn[np.isfinite(drawn)])) if np.isfinite(value) else np.nan
    return Estimate(value, value - spread, value + spread)

"""Metrics of rankings, and intervals for them: one definition for learning, evaluation, tuning and benchmarks.

They stand in `features/` because that is the only layer that all four may import; no model and no feature is defined here.

All work on whole columns. Rows (or positives) name their request by number, 0 … r - 1; a place counts from 0 on top. A
metric per request is NaN where the request says nothing. Intervals resample whole units (requests, users, days), because what
belongs to one unit is alike: percentiles of Efron and Tibshirani, "An introduction to the bootstrap", 1993.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.arrays import F32, F64, I64, Bools

Whole = NDArray[np.integer[Any]]
"""Integers of any width."""

TOP = 10
"""Places that count in NDCG and in what a list shows: a screenful of a phone, about what is seen before scrolling far."""
CUTOFFS = (5, TOP)
"""Half a screenful and a screenful; the cutoffs that published figures use, too."""
BINS = 10
"""Of the reliability table."""
RESAMPLES = 1000
"""Enough for the ends of a 95% interval: 25 resamples lie beyond each."""
INTERVAL = (0.025, 0.975)
TWO_SIDED = 1.959963984540054
"""97.5 % of a normal distribution lie below."""


def total(group: Whole, of: NDArray[Any], groups: int = 0) -> F64:
    """Σ of `of` per group: int[n], float64[n] or bool[n] → float64[at least `groups`]."""
    return np.bincount(group, of, groups).astype(np.float64)


def order_within(request: Whole, score: F64, tie: Whole) -> I64:
    """Row numbers by request, then by score from the top; ties by `tie`, which must not know the outcome: int64[n]."""
    return np.lexsort((tie, -score, request))


def places(request: Whole) -> I64:
    """Place of each row in its request, for rows grouped by request: int64[n]."""
    starts = np.searchsorted(request, np.arange(request[-1] + 1))
    return np.arange(len(request)) - starts[request]


def discount(place: Whole) -> F64:
    """1 / log2(place + 2). The NDCG of a single wanted story."""
    return 1.0 / np.log2(place + 2.0)


def ndcg(request: Whole, place: Whole, gain: F64, top: int = TOP) -> F64:
    """Per request, from the place and the gain of each row: float64[r], NaN where nothing was gained.

    Rows without a gain may be left out. Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002.
    """
    ideal = np.lexsort((-gain, request))
    with np.errstate(invalid="ignore"):
        return _dcg(request, place, gain, top) / _dcg(request[ideal], places(request[ideal]), gain[ideal], top)


def _dcg(request: Whole, place: Whole, gain: F64, top: int) -> F64:
    return total(request, gain / np.log2(place + 2.0) * (place < top))


def reciprocal_rank(request: Whole, place: Whole, positive: Bools) -> F64:
    """Per request, 1 / place of the first positive (from 1): float64[r], NaN without one."""
    best = np.zeros(int(request.max()) + 1)
    np.maximum.at(best, request[positive], 1.0 / (place[positive] + 1.0))
    return np.where(best > 0, best, np.nan)


def average_precision(request: Whole, place: Whole) -> F64:
    """Per request, the mean over its positives of the precision at each; the whole list counts. Rows are positives."""
    order = np.lexsort((place, request))
    precision = (places(request[order]) + 1.0) / (place[order] + 1.0)
    return total(request[order], precision) / np.bincount(request)


def per_request(ranks: Whole, request: Whole, requests: int) -> dict[str, F64]:
    """Metric → float64[requests], from the rank and the request of every positive: int64[p], int64[p].

    `ranks` counts how many eligible stories stand above each. Recall divides by all positives. Every request needs at least one
    positive; ValueError otherwise.
    """
    positives = np.bincount(request, minlength=requests)
    if requests and positives.min(initial=1) == 0:
        raise ValueError("a request without a positive has no recall")
    wanted = np.ones(len(ranks), bool)
    found = {"mrr": reciprocal_rank(request, ranks, wanted), "map": average_precision(request, ranks)}
    for k in CUTOFFS:
        hits = total(request, ranks < k, requests)
        found |= {
            f"recall@{k}": hits / positives,
            f"ndcg@{k}": ndcg(request, ranks, wanted.astype(np.float64), k),
            f"hit@{k}": (hits > 0).astype(np.float64),
        }
    return found


def auc(request: Whole, score: F64, positive: Bools) -> F64:
    """Per request, how often a positive is above a negative, ties half: float64[r], NaN without both.

    From the ranks' sum (Mann and Whitney 1947).
    """
    order = np.lexsort((score, request))
    change = np.concatenate(([True], (np.diff(score[order]) != 0) | (np.diff(request[order]) != 0)))
    group = np.cumsum(change) - 1
    mean_rank = total(group, places(request[order]).astype(np.float64)) / np.bincount(group)
    sums = total(request[order], mean_rank[group] * positive[order])
    ups, downs = total(request, positive), total(request, ~positive)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (sums - ups * (ups - 1) / 2) / (ups * downs)


def self_information(readers: Whole, users: int) -> F64:
    """Bits of surprise that somebody reads each story: -log2((readers + 1) / (users + 1)), int64[n] → float64[n].

    One imagined user more keeps the surprise of what nobody has read finite.
    """
    return -np.log2((readers + 1.0) / (users + 1.0))


def coverage(shown: F64, catalogue: int) -> F64:
    """Share of the catalogue that is in any list: counts[..., n] → [...]."""
    return np.count_nonzero(shown > 0, axis=-1) / catalogue


def gini(shown: F64) -> F64:
    """Gini coefficient of counts: [..., n] → [...]. 0: all equal; towards 1: one has everything. NaN where all are 0."""
    ordered = np.sort(shown, axis=-1)
    n, everything = ordered.shape[-1], ordered.sum(axis=-1)
    weighted = ordered @ np.arange(1, n + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(2.0 * weighted / (n * everything) - (n + 1.0) / n)


def losses(probability: F64, label: Bools) -> F64:
    """Log loss of each row, nats: float64[n]."""
    p = np.clip(np.where(label, probability, 1 - probability), 1e-15, 1.0)
    return -np.log(p)


def reliability(probability: F64, label: Bools, weight: F64, bins: int = BINS) -> F64:
    """Bins of equal numbers of rows by probability: float64[b, 3] of mean probability, rate, and share of the weight."""
    bin_of = _bins(probability, bins)
    mass = total(bin_of, weight, bins)
    used = mass > 0
    mean_of = total(bin_of, weight * probability, bins)[used] / mass[used]
    rate = total(bin_of, weight * label, bins)[used] / mass[used]
    return np.stack([mean_of, rate, mass[used] / mass.sum()], axis=1)


def gaps(probability: F64, label: Bools, weight: F64, request: Whole) -> F64:
    """Per request and bin, weight · (probability - label) summed: float64[r, BINS]; for the error of calibration."""
    r = int(request[-1]) + 1
    cell = request.astype(np.int64) * BINS + _bins(probability, BINS)
    return total(cell, weight * (probability - label), r * BINS).reshape(r, BINS)


def _bins(probability: F64, bins: int) -> I64:
    place = np.empty(len(probability), np.int64)
    place[np.argsort(probability, kind="stable")] = np.arange(len(probability))
    return place * bins // len(probability)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95% interval; `low` and `high` are NaN where resampling cannot find them."""

    value: float
    low: float
    high: float

    def text(self, sign: str = "") -> str:
        """`0.4112 (0.4050 to 0.4171)`; a dash for what is not known. `sign`: `+` to have one before every number."""
        if np.isnan(self.value):
            return "–"
        interval = "" if np.isnan(self.low) else f" ({self.low:{sign}.4f} to {self.high:{sign}.4f})"
        return f"{self.value:{sign}.4f}{interval}"


def resamples(units: int, rng: np.random.Generator, times: int = RESAMPLES) -> F32:
    """float32[times, units]: how often each unit is drawn in each resample; rows sum to `units`."""
    return rng.multinomial(units, np.full(units, 1.0 / units), times).astype(np.float32)


def percentile(value: float, drawn: F64) -> Estimate:
    """`value` between the percentiles of what was drawn; resamples that say nothing (NaN) are left out."""
    low, high = np.nanquantile(drawn, INTERVAL)
    return Estimate(value, float(low), float(high))


def normal(value: float, error: float) -> Estimate:
    """`value` ± 1.96 standard errors."""
    return Estimate(value, value - TWO_SIDED * error, value + TWO_SIDED * error)


def ratio(above: F64, below: F64, drawn: NDArray[np.floating[Any]]) -> Estimate:
    """Σ above / Σ below, both float64[units], which are resampled together; NaN when nothing is below."""
    if not below.sum():
        return Estimate(np.nan, np.nan, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return percentile(float(above.sum() / below.sum()), (drawn @ above) / (drawn @ below))


def mean(values: F64, unit: Whole, drawn: NDArray[np.floating[Any]]) -> Estimate:
    """Mean of the values that are not NaN, each of its unit: float64[n], int[n], `resamples` of the units.

    A resample's mean is the sum of its values over their number, so that busy units count as they do in the value itself. Of
    differences between two systems it is a paired comparison.
    """
    known, units = ~np.isnan(values), drawn.shape[1]
    return ratio(total(unit, np.where(known, values, 0.0), units), total(unit, known, units), drawn)


def of_counts(shown: F64, drawn: NDArray[np.floating[Any]], statistic: Callable[[F64], F64]) -> Estimate:
    """A statistic of what all lists together show: shown float64[units, n] is how often each unit shows each thing.

    A resample shows less variety than the whole, since a unit drawn twice brings nothing new; percentiles would lie beside
    the value. So: the value ± 1.96 standard deviations of the resamples (of those where it is defined). NaN where the
    statistic is not defined.
    """
    value, found = float(statistic(shown.sum(axis=0))), statistic(drawn @ shown)
    return normal(value, float(np.std(found[np.isfinite(found)])) if np.isfinite(value) else np.nan)

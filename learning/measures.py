"""Measures of a ranking, request by request, over rows that are grouped by request."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from online.rankers.models.outcomes import Doubles

TOP = 10
"""Of NDCG and coverage: about what a user sees before scrolling far."""
BINS = 10
"""Of the reliability table."""


def order_within(request: NDArray[np.int32], score: Doubles, tie: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row numbers by request, then by score from the top; ties by `tie`, which must not know the outcome: int64[n]."""
    return np.lexsort((tie, -score, request))


def total(group: NDArray[Any], of: NDArray[Any], groups: int = 0) -> Doubles:
    """Σ of `of` per group: int[n], float64[n] or bool[n] → float64[at least `groups`]."""
    return np.bincount(group, of, groups).astype(np.float64)


def places(request: NDArray[np.int32]) -> NDArray[np.int64]:
    """Place of each row in its request, from 0, for rows in order: int64[n]."""
    starts = np.searchsorted(request, np.arange(request[-1] + 1))
    return np.arange(len(request)) - starts[request]


def auc(request: NDArray[np.int32], score: Doubles, positive: NDArray[np.bool_]) -> Doubles:
    """Per request, how often a positive is above a negative, ties half: float64[r], NaN without both.

    From the ranks' sum (Mann and Whitney 1947).
    """
    r = int(request[-1]) + 1
    order = np.lexsort((score, request))
    ranks = places(request[order]).astype(np.float64)
    change = np.concatenate(([True], (np.diff(score[order]) != 0) | (np.diff(request[order]) != 0)))
    group = np.cumsum(change) - 1
    mean_rank = total(group, ranks) / np.bincount(group)
    sums = total(request[order], mean_rank[group] * positive[order], r)
    ups = total(request, positive, r)
    downs = total(request, ~positive, r)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (sums - ups * (ups - 1) / 2) / (ups * downs)


def ndcg(request: NDArray[np.int32], order: NDArray[np.int64], gain: Doubles, top: int = TOP) -> Doubles:
    """Per request: float64[r], NaN where nothing was gained (Järvelin and Kekäläinen 2002, discount log2(place + 2))."""
    r = int(request[-1]) + 1
    ideal = np.lexsort((-gain, request))
    with np.errstate(invalid="ignore"):
        return _dcg(request, order, gain, top, r) / _dcg(request, ideal, gain, top, r)


def _dcg(request: NDArray[np.int32], order: NDArray[np.int64], gain: Doubles, top: int, r: int) -> Doubles:
    place = places(request[order])
    return total(request[order], gain[order] / np.log2(place + 2) * (place < top), r)


def reciprocal_rank(request: NDArray[np.int32], order: NDArray[np.int64], positive: NDArray[np.bool_]) -> Doubles:
    """Per request, 1 / place of the first positive (from 1): float64[r], NaN without one."""
    r = int(request[-1]) + 1
    out = np.zeros(r)
    hit = positive[order]
    np.maximum.at(out, request[order][hit], 1.0 / (places(request[order])[hit] + 1))
    return np.where(total(request, positive, r) > 0, out, np.nan)


def losses(probability: Doubles, label: NDArray[np.bool_]) -> Doubles:
    """Log loss of each row, nats: float64[n]."""
    p = np.clip(np.where(label, probability, 1 - probability), 1e-15, 1.0)
    return -np.log(p)


def reliability(probability: Doubles, label: NDArray[np.bool_], weight: Doubles, bins: int = BINS) -> Doubles:
    """Bins of equal numbers of rows by probability: float64[b, 3] of mean probability, rate, and share of the weight."""
    bin_of = _bins(probability, bins)
    mass = total(bin_of, weight, bins)
    used = mass > 0
    mean = total(bin_of, weight * probability, bins)[used] / mass[used]
    rate = total(bin_of, weight * label, bins)[used] / mass[used]
    return np.stack([mean, rate, mass[used] / mass.sum()], axis=1)


def gaps(probability: Doubles, label: NDArray[np.bool_], weight: Doubles, request: NDArray[np.int32]) -> Doubles:
    """Per request and bin, weight · (probability - label) summed: float64[r, BINS]; for the error of calibration."""
    r = int(request[-1]) + 1
    cell = request.astype(np.int64) * BINS + _bins(probability, BINS)
    return total(cell, weight * (probability - label), r * BINS).reshape(r, BINS)


def _bins(probability: Doubles, bins: int) -> NDArray[np.int64]:
    place = np.empty(len(probability), np.int64)
    place[np.argsort(probability, kind="stable")] = np.arange(len(probability))
    return place * bins // len(probability)

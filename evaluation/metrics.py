"""Metrics of ranked lists, all requests at once.

A request is one user at one moment (or, in a sampled protocol, one test article among its pool). Its positives are the
stories that turned out to be wanted; `ranks` counts from 0 how many eligible stories stand above each of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CUTOFFS = (5, 10)
"""Half a screenful and a screenful of a phone; the cutoffs that published figures use, too."""
LIST = 10
"""Length of the lists whose coverage, novelty and concentration are evaluated."""


def per_request(ranks: Ints, request: Ints, requests: int) -> dict[str, Floats]:
    """Metric → float64[requests], from the rank and the request of every positive: int64[p], int64[p].

    Every request needs at least one positive; ValueError otherwise. NDCG as in Järvelin and Kekäläinen, "Cumulated
    gain-based evaluation of IR techniques", TOIS 2002, with gains of one and log2; Recall divides by all positives.
    """
    positives = np.bincount(request, minlength=requests)
    if requests and positives.min(initial=1) == 0:
        raise ValueError("a request without a positive has no recall")
    found = {"mrr": _best(ranks, request, requests), "map": _average_precision(ranks, request, positives)}
    for k in CUTOFFS:
        hit = ranks < k
        hits = np.bincount(request, hit, requests)
        gain = np.bincount(request, hit / np.log2(np.minimum(ranks, k) + 2.0), requests)
        found |= {
            f"recall@{k}": hits / positives,
            f"ndcg@{k}": gain / _ideal(k)[np.minimum(positives, k)],
            f"hit@{k}": (hits > 0).astype(np.float64),
        }
    return found


def _ideal(k: int) -> Floats:
    """float64[k + 1]: the DCG of 0 … k positives on top."""
    return np.concatenate(([0.0], np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))))


def _best(ranks: Ints, request: Ints, requests: int) -> Floats:
    """Reciprocal rank of each request's best positive."""
    best = np.full(requests, np.iinfo(np.int64).max)
    np.minimum.at(best, request, ranks)
    return 1.0 / (best + 1.0)


def _average_precision(ranks: Ints, request: Ints, positives: Ints) -> Floats:
    """Mean over a request's positives of the precision at each; the whole list counts."""
    order = np.lexsort((ranks, request))
    starts = np.repeat(np.cumsum(positives) - positives, positives)
    precision = (np.arange(len(order)) - starts + 1.0) / (ranks[order] + 1.0)
    return np.bincount(request[order], precision, len(positives)) / positives


def self_information(readers: Ints, users: int) -> Floats:
    """Bits of surprise that somebody reads each story: -log2((readers + 1) / (users + 1)), int64[n] → float64[n].

    One imagined reader more keeps the surprise of what nobody has read finite.
    """
    return -np.log2((readers + 1.0) / (users + 1.0))


def coverage(shown: Floats, catalogue: int) -> Floats:
    """Share of the catalogue that is in any list: counts[..., n] → [...]."""
    return np.count_nonzero(shown > 0, axis=-1) / catalogue


def gini(shown: Floats) -> Floats:
    """Gini coefficient of counts: [..., n] → [...]. 0: all equal; towards 1: one has everything. NaN where all are 0."""
    ordered = np.sort(shown, axis=-1)
    n, total = ordered.shape[-1], ordered.sum(axis=-1)
    weighted = ordered @ np.arange(1, n + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(2.0 * weighted / (n * total) - (n + 1.0) / n)

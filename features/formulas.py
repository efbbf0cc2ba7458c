"""The vectorised user×story features, which annotators call, for feeds and for training examples.

Every reduction runs in a fixed order that does not depend on how many rows are computed at once, so that a value has
the same bits in a training set of millions and in a feed of one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.arrays import F32, I32, Micros
from features.compiled import compiled
from features.registry import BY_NAME
from features.times import UNDATED

RECENCY_HALF_LIFE_H = 24.0
"""Age at which `recency` is one half: a day, the rhythm in which users come back."""
RECENT_READS = 20
"""Latest different stories read that `similarity` looks at: about what one sitting of a keen user, or a week of others, holds."""
NEWCOMER_RATES = {"story_open_rate": "author_open_rate", "story_read_rate": "author_read_rate"}
"""A story that no snapshot has seen yet has its author's rates, as one without events has in a snapshot."""
GAP_MOST_H = 8760.0
"""A year: further apart is all the same."""
_FIXED_ONE = float(1 << 30)
_BLOCK = 8192
"""Rows per block of `dot`: 32 kB of float32, so that the running sum stays in the first-level cache."""


def gather(values: F32, index: I32) -> F32:
    """`values[index]`: float32[k + 1], int32[n] → float32[n]. The last value stands for index -1 (absent)."""
    return values.take(index)


def gather_mean(values: F32, index: I32, default: float = 0.0) -> F32:
    """Mean of `values` over each row's present entries: float32[k], int32[n, t] → float32[n].

    Absent entries are -1; a row without any other gets `default`. Summed in column order. Compiled, because every story
    has topics: half a million rows take a quarter of the time that NumPy takes for going through them column by column.
    """
    out = np.empty(len(index), np.float32)
    _means(values, index, np.float32(default), out)
    return out


@compiled
def _means(values: F32, index: I32, default: np.float32, out: F32) -> None:
    for row in range(index.shape[0]):
        total, count = np.float32(0.0), np.float32(0.0)
        for column in range(index.shape[1]):
            at = index[row, column]
            if at >= 0:
                total += values[at]
                count += np.float32(1.0)
        out[row] = total / count if count > 0 else default


def warm_up() -> None:
    """Compiles what is compiled, for arrays that may be written to and others, so that no request waits for it."""
    index = np.zeros((1, 1), np.int32)
    for writeable in (True, False):
        index.flags.writeable = writeable
        gather_mean(np.zeros(1, np.float32), index)


def dot(columns: F32, vector: F32) -> F32:
    """Dot product of each story's vector with one user's: float32[k, n], float32[k] → float32[n].

    Summed factor by factor, unlike BLAS, whose order changes with n. A user without a vector: zeros.
    """
    out = np.zeros(columns.shape[1], np.float32)
    scratch = np.empty(_BLOCK, np.float32)
    for start in range(0, len(out), _BLOCK):
        total = out[start : start + _BLOCK]
        product = scratch[: len(total)]
        for factor, weight in enumerate(vector):
            np.multiply(columns[factor, start : start + _BLOCK], weight, out=product)
            total += product
    return out


def scatter_max(n: int, rows: I32, values: F32) -> F32:
    """float32[n] of zeros with the greatest of `values` at each of `rows` (rows may repeat)."""
    out = np.zeros(n, np.float32)
    np.maximum.at(out, rows, values)
    return out


def scatter_sum(n: int, rows: I32, values: F32) -> F32:
    """float32[n] with the sum of `values` at each of `rows` (rows may repeat), 0 elsewhere.

    Added as integers of 2^-30, so that no order changes a bit; |sum| < 2^33.
    """
    out = np.zeros(n, np.int64)
    np.add.at(out, rows, np.rint(values.astype(np.float64) * _FIXED_ONE).astype(np.int64))
    return (out / _FIXED_ONE).astype(np.float32)


def exact_sum(values: F32) -> np.float32:
    """Sum of float32[k], the same bits in any order: added as integers of 2^-30; |sum| < 2^33."""
    return np.float32(np.rint(values.astype(np.float64) * _FIXED_ONE).astype(np.int64).sum() / _FIXED_ONE)


def user_reads(stories_read: int) -> np.float32:
    """log1p of how many different stories a user has read."""
    return np.float32(np.log1p(np.float64(stories_read)))


def read_gap_h(published_at: Micros, read_at: Micros) -> F32:
    """Hours between each publication and the nearest read: int64[n], int64[m] ascending (µs) → float32[n], GAP_MOST_H at most.

    No read with a date, or a story without one: GAP_MOST_H.
    """
    read_at = read_at[np.searchsorted(read_at, UNDATED, "right") :]
    if not len(read_at):
        return np.full(len(published_at), GAP_MOST_H, np.float32)
    midway = read_at[:-1] + (read_at[1:] - read_at[:-1]) // 2
    nearest = read_at.take(np.searchsorted(midway, published_at))
    return np.minimum(np.abs(published_at - nearest) / 3.6e9, GAP_MOST_H).astype(np.float32)


def scatter(n: int, index: I32, values: F32 | float) -> F32:
    """float32[n + 1] of zeros with `values` at `index` (-1: nowhere); the last entry stands for absent, as `gather` reads it."""
    out = np.zeros(n + 1, np.float32)
    known = index >= 0
    out[index[known]] = values if np.isscalar(values) else np.asarray(values)[known]
    return out


def latest_different(keys: NDArray[np.generic], kept: int = RECENT_READS) -> NDArray[np.intp]:
    """Positions of the first `kept` different keys of a list that is newest first, in its order."""
    _, first = np.unique(keys, return_index=True)
    return np.sort(first)[:kept]


def unopened_impressions(times: I32) -> F32:
    """log1p of how often a story was shown without being opened: int32[n] → float32[n]."""
    return np.log1p(times.astype(np.float32))


def age_hours(published_at: Micros, now_us: int | Micros) -> F32:
    """Hours since publication: int64[n] (µs), one moment or int64[n] → float32[n].

    0 for what is dated in the future, NaN for what is UNDATED.
    """
    hours = np.maximum((now_us - published_at) / 3.6e9, 0.0).astype(np.float32)
    hours[published_at == UNDATED] = np.nan
    return hours


def recency(hours: F32, half_life_h: float = RECENCY_HALF_LIFE_H) -> F32:
    """Exponential decay with age: float32[n] hours → float32[n] in (0, 1]; the registered default for NaN, no known age."""
    out = np.exp2(hours * np.float32(-1.0 / half_life_h))
    out[np.isnan(out)] = BY_NAME["recency"].default
    return out

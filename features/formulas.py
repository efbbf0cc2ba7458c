"""The vectorised user×story features. Batch (mapInArrow) and online call these very functions.

Every reduction runs in a fixed order that does not depend on how many rows are computed at once, so that a value has
the same bits in a training set of millions and in a feed of one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

RECENCY_HALF_LIFE_H = 24.0
"""Age at which `recency` is one half: a day, the rhythm in which readers come back."""
_BLOCK = 8192
"""Rows per block of `dot`: 32 kB of float32, so that the running sum stays in the first-level cache."""


def gather(values: Floats, index: Ints) -> Floats:
    """`values[index]`: float32[k + 1], int32[n] → float32[n]. The last value stands for index -1 (absent)."""
    return values.take(index)


def gather_mean(values: Floats, index: Ints, default: float = 0.0) -> Floats:
    """Mean of `values` over each row's present entries: float32[k], int32[n, t] → float32[n].

    Absent entries (-1) stand at a row's end; a row without any gets `default`. Summed in column order.
    """
    padded = np.append(values, np.float32(0.0))
    total = np.zeros(len(index), np.float32)
    count = np.zeros(len(index), np.float32)
    for column in index.T:
        total += padded.take(column)
        count += column >= 0
    return np.divide(total, count, out=np.full(len(index), default, np.float32), where=count > 0)


def dot(columns: Floats, vector: Floats) -> Floats:
    """Dot product of each story's vector with one person's: float32[k, n], float32[k] → float32[n].

    Summed factor by factor, unlike BLAS, whose order changes with n. A person without a vector: zeros.
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


def scatter_max(n: int, rows: Ints, values: Floats) -> Floats:
    """float32[n] of zeros with the greatest of `values` at each of `rows` (rows may repeat)."""
    out = np.zeros(n, np.float32)
    np.maximum.at(out, rows, values)
    return out


def times_seen(times: NDArray[np.int32]) -> Floats:
    """log1p of how often a story was shown in vain: int32[n] → float32[n]."""
    return np.log1p(times.astype(np.float32))


def age_hours(published_at: NDArray[np.int64], now_us: int) -> Floats:
    """Hours since publication, 0 for what is dated in the future: int64[n] (µs) → float32[n]."""
    return np.maximum((now_us - published_at) / 3.6e9, 0.0).astype(np.float32)


def recency(hours: Floats, half_life_h: float = RECENCY_HALF_LIFE_H) -> Floats:
    """Exponential decay with age: float32[n] hours → float32[n] in (0, 1]."""
    return np.exp2(hours * np.float32(-1.0 / half_life_h))

"""Picking rows out of large arrays: the union of providers, and the best by score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from online.columns import Bits, Candidates, Floats, Ints, Micros, Rows


def union(bits: Bits) -> Candidates:
    """Candidates from uint32[N] source bits over the whole story table: the rows with any bit."""
    present = bits != 0
    if present.all():
        return Candidates(np.arange(len(bits), dtype=np.int32), bits, whole=True)
    rows = np.flatnonzero(present).astype(np.int32)
    return Candidates(rows, bits[rows])


def best(score: Floats, rows: Rows, wanted: int, published_at: Micros) -> Ints:
    """int32[≤ wanted]: positions of the greatest scores, in order; ties go to the newer story.

    `published_at` is int64[N], of the story table; of two rows with one date the greater is the newer.
    """
    if wanted < len(score):
        threshold = np.partition(score, -wanted)[-wanted]
        above = np.flatnonzero(score > threshold)
        tied = np.flatnonzero(score == threshold)
        picked = np.concatenate((above, _newest(tied, rows, published_at, wanted - len(above))))
    else:
        picked = np.arange(len(score))
    order = np.lexsort((-rows[picked], -published_at.take(rows[picked]), -score[picked]))
    return picked[order].astype(np.int32)


def _newest(positions: NDArray[np.intp], rows: Rows, published_at: Micros, wanted: int) -> NDArray[np.intp]:
    """The `wanted` newest of some positions in `rows`."""
    dates = published_at.take(rows[positions])
    if (dates[1:] < dates[:-1]).any():  # else they are in order: the snapshot's rows are, and few lie behind them
        positions = positions[np.argsort(dates, kind="stable")]
    return positions[len(positions) - wanted :]


def finite(score: Floats) -> Floats:
    """float32[n] with NaN and infinities at the end of the ranking: what cannot be compared cannot be on top."""
    good = np.isfinite(score)
    return score if good.all() else np.where(good, score, np.finfo(np.float32).min)

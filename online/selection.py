"""Picking rows out of large arrays: the union of providers, and the best by score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from features.arrays import F32, I32, Bools, Hashes, Micros
from online.columns import Candidates, Rows
from online.story_table.lookup import one_of

FEW = 16
"""Rows that are fewer than this fraction of the table are united by sorting them; more of them, by marking the table."""

_LOW_BITS = 16
_LOW = np.int64((1 << _LOW_BITS) - 1)


def counted(rows: Rows | slice, n: int) -> int:
    """How many rows of a table of n these are. IndexError when one is beyond it, TypeError when they are no rows at all."""
    if isinstance(rows, slice):
        return len(range(n)[rows])
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise TypeError(f"rows are a list of integers, not {rows.dtype}{list(rows.shape)}")
    if len(rows) and (rows.min() < 0 or rows.max() >= n):
        raise IndexError(f"rows from {rows.min()} to {rows.max()} in a table of {n}")
    return len(rows)


def checked(name: str, verdicts: np.ndarray, kind: type[np.generic], n: int) -> None:
    """TypeError when what a rule or a validator says of n candidates is not one value of its kind for each."""
    if verdicts.dtype != kind or verdicts.shape != (n,):
        raise TypeError(
            f"{name} said {verdicts.dtype}{list(verdicts.shape)} of {n} candidates; it has to be {np.dtype(kind)}[{n}]"
        )


def united(brought: Sequence[tuple[Rows | slice, np.uint32]], n: int, superseded: Rows) -> Candidates:
    """Everything that was brought of a table of n rows: each row once, with the bits of all that brought it.

    Without rows that are `superseded`. What few rows cost does not depend on n.
    """
    few = [(rows, bit) for rows, bit in brought if not isinstance(rows, slice)]
    if len(few) < len(brought) or FEW * sum(len(rows) for rows, _ in few) > n:
        bits = np.zeros(n, np.uint32)
        for some, bit in brought:
            bits[some] |= bit
        bits[superseded] = 0
        if bits.all():
            return Candidates(np.arange(n, dtype=np.int32), bits, whole=True)
        rows = np.flatnonzero(bits).astype(np.int32)
        return Candidates(rows, bits[rows])
    rows = np.unique(np.concatenate([np.empty(0, np.int32), *(some for some, _ in few)])).astype(np.int32)
    rows = np.setdiff1d(rows, superseded, assume_unique=True) if len(superseded) else rows
    sources = np.zeros(len(rows), np.uint32)
    for some, bit in few:
        sources[one_of(rows, some)] |= bit
    return Candidates(rows, sources)


def best(score: F32, rows: Rows, wanted: int, published_at: Micros) -> I32:
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


def finite(score: F32) -> F32:
    """float32[n] with NaN and infinities at the end of the ranking: what cannot be compared cannot be on top."""
    good = np.isfinite(score)
    return score if good.all() else np.where(good, score, np.finfo(np.float32).min)


def among(hashes: Hashes, few: Hashes) -> Bools:
    """bool[n]: which of the hashes, int64[n], are among a few thousand others.

    Their lowest bits rule out nearly all of them first, at a tenth of what comparing each costs.
    """
    low = np.zeros(1 << _LOW_BITS, bool)
    low[few & _LOW] = True
    found: Bools = low.take(hashes & _LOW)
    at = np.flatnonzero(found)
    found[at] = one_of(hashes.take(at), few)
    return found

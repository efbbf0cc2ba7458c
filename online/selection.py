"""Picking rows out of large arrays: the union of providers, and the best by score."""

from __future__ import annotations

import numpy as np

from online.columns import Bits, Candidates, Floats, Ints, Rows


def union(bits: Bits) -> Candidates:
    """Candidates from uint32[N] source bits over the whole story table: the rows with any bit."""
    present = bits != 0
    if present.all():
        return Candidates(np.arange(len(bits), dtype=np.int32), bits, whole=True)
    rows = np.flatnonzero(present).astype(np.int32)
    return Candidates(rows, bits[rows])


def best(score: Floats, rows: Rows, wanted: int) -> Ints:
    """int32[≤ wanted]: positions of the greatest scores, in order; ties go to the greater row, which is the newer story."""
    if wanted < len(score):
        threshold = np.partition(score, -wanted)[-wanted]
        above = np.flatnonzero(score > threshold)
        tied = np.flatnonzero(score == threshold)
        picked = np.concatenate((above, tied[len(tied) - (wanted - len(above)) :]))
    else:
        picked = np.arange(len(score))
    order = np.lexsort((-rows[picked], -score[picked]))
    return picked[order].astype(np.int32)


def finite(score: Floats) -> Floats:
    """float32[n] with NaN and infinities at the end of the ranking: what cannot be compared cannot be on top."""
    good = np.isfinite(score)
    return score if good.all() else np.where(good, score, np.finfo(np.float32).min)

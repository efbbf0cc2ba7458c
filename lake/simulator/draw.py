"""Draws lists without replacement from weights, with exact propensities."""

from __future__ import annotations

import numpy as np

from features.arrays import F32, F64, I64

NONE = -1


def draw_lists(
    rng: np.random.Generator,
    weights: F32,
    rows: I64,
    ends: I64,
    lengths: I64,
) -> tuple[I64, F64]:
    """Lists of s sessions: columns int64[s, longest] (NONE where a list is over) and propensity float64[s, longest].

    Session i draws `lengths[i]` distinct columns of `weights[rows[i], :ends[i]]`, each time in proportion to the
    weights of what is left; fewer when fewer have weight. Drawing with replacement and skipping what is already in
    the list is the same as drawing without.
    """
    width = weights.shape[1]
    total = np.zeros(weights.size + 1)
    np.cumsum(weights.ravel(), dtype=np.float64, out=total[1:])
    low, high = total[rows * width], total[rows * width + ends]
    lengths = np.minimum(lengths, _eligible(weights, rows, ends))
    flat = _distinct(rng, total, low, high, lengths)
    shown = flat != NONE
    weight = np.where(shown, weights.ravel()[flat], 0).astype(np.float64)
    above = np.cumsum(weight, axis=1) - weight
    left = np.where(shown, (high - low)[:, None] - above, 1.0)
    return np.where(shown, flat - rows[:, None] * width, NONE), weight / left


def _eligible(weights: F32, rows: I64, ends: I64) -> I64:
    counts = (np.count_nonzero(weights[row, :end]) for row, end in zip(rows.tolist(), ends.tolist(), strict=True))
    return np.fromiter(counts, np.int64, len(rows))


def _distinct(
    rng: np.random.Generator,
    total: F64,
    low: F64,
    high: F64,
    lengths: I64,
) -> I64:
    """Flat positions int64[s, longest], distinct within a row, drawn by inverse distribution function."""
    chosen = np.full((len(lengths), int(lengths.max(initial=0))), NONE)
    filled = np.zeros(len(lengths), np.int64)
    while (open_rows := np.nonzero(filled < lengths)[0]).size:
        span = (high - low)[open_rows]
        at = low[open_rows] + rng.random((chosen.shape[1], len(open_rows))) * span
        at = np.minimum(at, np.nextafter(high[open_rows], 0))  # rounding must not step into the next user's weights
        for drawn in np.searchsorted(total, at, side="right") - 1:
            fresh = (filled[open_rows] < lengths[open_rows]) & (chosen[open_rows] != drawn[:, None]).all(axis=1)
            chosen[open_rows[fresh], filled[open_rows[fresh]]] = drawn[fresh]
            filled[open_rows[fresh]] += 1
    return chosen

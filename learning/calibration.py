"""Turns raw log-odds into probabilities that hold: a monotone map, kept as a few numbers.

The map works in log-odds: straight lines between knots, and beyond the knots lines of given slopes. A sigmoid (Platt
1999) is one knot; an isotonic regression (Zadrozny and Elkan 2002), taken over bins, has one knot a step. Both are strictly
increasing, so that calibration makes no ties at the top of a feed.
"""

from __future__ import annotations

import numpy as np

from features.arrays import F64, Bools
from online.rankers.models.model import IDENTITY, Calibration

ISOTONIC_POSITIVES = 1000
"""From here on isotonic regression is better than the sigmoid (Niculescu-Mizil and Caruana 2005, figure 7)."""
POSITIVES_A_BIN = 50
"""A rate from fifty positives is known to about 14%; fewer would make steps of chance."""
MAX_BINS = 50
MIN_POSITIVES = 10
"""With fewer, the shape of a map cannot be distinguished from chance; the raw probabilities stay."""


def calibrate(raw: F64, label: Bools, weight: F64) -> Calibration:
    """The map for raw log-odds of rows that the model has not seen; `IDENTITY` when none can be distinguished from chance."""
    positives = int(label.sum())
    if min(positives, len(label) - positives) < MIN_POSITIVES:
        return IDENTITY
    return _isotonic(raw, label, weight) if positives >= ISOTONIC_POSITIVES else _sigmoid(raw, label, weight)


def _sigmoid(raw: F64, label: Bools, weight: F64) -> Calibration:
    from sklearn.linear_model import LogisticRegression  # seconds, which nobody who only scores has to wait for

    fitted = LogisticRegression(C=1e4).fit(raw[:, None], label, weight)  # hardly regularised: two numbers to be found
    slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return Calibration("sigmoid", np.zeros(1), np.full(1, offset), slope) if slope > 0 else IDENTITY


def _isotonic(raw: F64, label: Bools, weight: F64) -> Calibration:
    from sklearn.isotonic import IsotonicRegression

    order = np.argsort(raw, kind="stable")
    raw, label, weight = raw[order], label[order], weight[order]
    bins = min(MAX_BINS, int(label.sum()) // POSITIVES_A_BIN)
    bin_of = np.minimum(np.cumsum(label) * bins // (int(label.sum()) + 1), bins - 1)
    total = np.bincount(bin_of, weight, bins).astype(np.float64)
    center = np.bincount(bin_of, weight * raw, bins) / total
    rate = np.bincount(bin_of, weight * label, bins) / total
    steps = IsotonicRegression().fit_transform(center, rate, sample_weight=total)
    return _knots(center, np.clip(steps, 1e-9, 1 - 1e-9), total)


def _knots(center: F64, steps: F64, total: F64) -> Calibration:
    """One knot in the middle of each step (centred isotonic regression, Oron and Flournoy 2017)."""
    _, step = np.unique(steps, return_inverse=True)
    mass = np.bincount(step, total)
    x = np.bincount(step, total * center) / mass
    p = np.bincount(step, total * steps) / mass
    return Calibration("isotonic", x, np.log(p / (1 - p)), 1.0)

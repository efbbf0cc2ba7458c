"""The rhythm of the day: when users read and write."""

from __future__ import annotations

import numpy as np

from features.arrays import F64, I64

HOURLY = np.array((2, 1, 1, 1, 1, 2, 5, 8, 9, 7, 6, 6, 8, 7, 6, 5, 5, 6, 7, 9, 10, 10, 7, 4), np.float64)
"""Relative activity by local hour: a morning and an evening peak and a deep night, as in most consumer logs."""
US_PER_HOUR = 3_600_000_000


def times_of_day(rng: np.random.Generator, hours_from_utc: F64) -> I64:
    """Microseconds after UTC midnight, one for each given offset of local time: int64[n] in [0, 24 h)."""
    local = rng.choice(24, len(hours_from_utc), p=HOURLY / HOURLY.sum())
    hour = (local - hours_from_utc) % 24
    return np.asarray(((hour + rng.random(len(hour))) * US_PER_HOUR).astype(np.int64))

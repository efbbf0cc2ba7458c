"""One cut: the last fifth of all interactions by time is the test."""

from __future__ import annotations

import numpy as np

from evaluation.protocols.rolling import TEACHING_DAYS, days
from evaluation.protocols.task import DAY_US, Split, moment, refuse_empty, with_pools
from evaluation.reading_log import FOREVER, Log

TEST_FROM = 0.8
"""Quantile of timestamps at which is cut."""
VALIDATION_FROM = 0.9
"""Quantile, of what is known then, at which validation cuts again."""


def time_split(log: Log, negatives: int | None = None) -> Split:
    """One task: everything first read after the cut among the stories that were out at it. Units are users."""
    cut_us = int(np.quantile(log.at_us, TEST_FROM)) + 1
    test = [task for task in [moment(log, cut_us, FOREVER)] if task is not None]
    refuse_empty("time", test)
    before = log.known_us < cut_us
    inner_us = int(np.quantile(log.at_us[before], VALIDATION_FROM)) + 1
    inner = [task for task in [moment(log, inner_us, cut_us, before)] if task is not None]
    last_day = cut_us // DAY_US - 1
    teaching = tuple(days(log, last_day - TEACHING_DAYS + 1, last_day, before))
    validation = with_pools(log, inner, negatives)
    return Split("time", with_pools(log, test, negatives), validation, teaching, by_time=True, unit="user")

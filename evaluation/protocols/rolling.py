"""Day by day, which is what a feed really does.

From the UTC day after the 0.8 quantile of timestamps on: at each day's start everything received before it is known; each
user with enough history is ranked every story out by then and not yet read; positives are those first read that day.
"""

from __future__ import annotations

import numpy as np

from evaluation.protocols.task import DAY_US, Split, Task, moment, refuse_empty, with_pools
from evaluation.reading_log import Log
from features.arrays import Bools

TEST_FROM = 0.8
"""Quantile of timestamps, exact repeats kept; what is tested comes after its day."""
VALIDATION_DAYS = 14
"""Days before the first test day on which constants may be chosen: two of each weekday."""
TEACHING_DAYS = 56
"""Days before the first test day from which rankings may learn: eight of each weekday."""


def rolling(log: Log, negatives: int | None = None) -> Split:
    """One task a day on which anybody read something new; units are days. BadInput when there is no such day."""
    first_day = int(np.quantile(log.at_us, TEST_FROM) // DAY_US) + 1
    tasks = with_pools(log, days(log, first_day, int(log.at_us.max() // DAY_US)), negatives)
    refuse_empty("rolling", tasks)
    before = log.known_us < first_day * DAY_US
    validation = days(log, first_day - VALIDATION_DAYS, first_day - 1, before)
    teaching = tuple(days(log, first_day - TEACHING_DAYS, first_day - 1, before))
    return Split("rolling", tasks, with_pools(log, validation, negatives), teaching, by_time=True, unit="day")


def days(log: Log, first_day: int, last_day: int, among: Bools | None = None) -> list[Task]:
    """The tasks of the days (since 1970), both ends included, that have any."""
    found = (moment(log, day * DAY_US, (day + 1) * DAY_US, among) for day in range(first_day, last_day + 1))
    return [task for task in found if task is not None]

"""Protocols: what systems may know, what they are asked, and what turned out to be wanted. Two split by time, two at random."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.model_selection import train_test_split

from evaluation.reading_log import Log
from evaluation.task import (
    MIN_STORIES,
    NEGATIVES,
    SEED,
    Split,
    Task,
    asked,
    moment,
    refuse_empty,
    with_pools,
)
from features.arrays import I64, Bools
from features.times import DAY_US, FOREVER_US

TEST_FROM = 0.8
"""Quantile of timestamps, exact repeats kept; what is tested by time comes after it."""
VALIDATION_FROM = 0.9
"""Quantile, of what is known at the one cut, at which validation cuts again."""
VALIDATION_DAYS = 14
"""Days before the first test day on which constants may be chosen: two of each weekday."""
TEACHING_DAYS = 56
"""Days before the first test day from which rankings may learn: eight of each weekday."""
TEST_SHARE = 0.2
VALIDATION_SHARE = 0.1
TEACHING_SHARE = 0.2
"""As much as is tested on, so that a ranking learns from users who are known as well as those it will be asked about."""


def rolling(log: Log, negatives: int | None = None) -> Split:
    """Day by day, which is what a feed really does. One task a day on which anybody read something new; units are days.

    From the UTC day after TEST_FROM on: at each day's start everything received before it is known; each user with enough
    history is ranked every story out by then and not yet read; positives are those first read that day. BadInput when there
    is no such day.
    """
    first_day = int(np.quantile(log.at_us, TEST_FROM) // DAY_US) + 1
    tasks = with_pools(log, days(log, first_day, int(log.at_us.max() // DAY_US)), negatives)
    refuse_empty("rolling", tasks)
    before = log.known_us < first_day * DAY_US
    validation = days(log, first_day - VALIDATION_DAYS, first_day - 1, before)
    teaching = tuple(days(log, first_day - TEACHING_DAYS, first_day - 1, before))
    return Split("rolling", tasks, with_pools(log, validation, negatives), teaching, by_time=True, unit="day")


def time_split(log: Log, negatives: int | None = None) -> Split:
    """One task: everything first read after the one cut among the stories that were out at it. Units are users."""
    cut_us = int(np.quantile(log.at_us, TEST_FROM)) + 1
    test = [task for task in [moment(log, cut_us, FOREVER_US)] if task is not None]
    refuse_empty("time", test)
    before = log.known_us < cut_us
    inner_us = int(np.quantile(log.at_us[before], VALIDATION_FROM)) + 1
    inner = [task for task in [moment(log, inner_us, cut_us, before)] if task is not None]
    last_day = cut_us // DAY_US - 1
    teaching = tuple(days(log, last_day - TEACHING_DAYS + 1, last_day, before))
    validation = with_pools(log, inner, negatives)
    return Split("time", with_pools(log, test, negatives), validation, teaching, by_time=True, unit="user")


def days(log: Log, first_day: int, last_day: int, among: Bools | None = None) -> list[Task]:
    """The tasks of the days (since 1970), both ends included, that have any."""
    found = (moment(log, day * DAY_US, (day + 1) * DAY_US, among) for day in range(first_day, last_day + 1))
    return [task for task in found if task is not None]


def random_split(log: Log, negatives: int | None = None) -> Split:
    """A fifth of all (user, story) at random, whenever it was; everything live is ranked.

    One task at the end of the log. Only users with enough stories have any hidden; the others are known whole.
    """
    rng = np.random.default_rng(SEED)
    everything = np.ones(len(log), bool)
    test = hide(log, everything, TEST_SHARE, rng)
    refuse_empty("random", [test] if len(test) else [])
    return _at_random("random", log, test, negatives, rng)


def published(log: Log, negatives: int | None = None) -> Split:
    """The protocol of DeskDrop's own notebook, for any lake. One task at the end of the log.

    Users with at least five stories; interactions of others are not known at all. Of their (user, story) a fifth is the test,
    stratified by user, seed 42, so not by time; each is ranked among 100 random stories that the user never touched.
    """
    pairs = np.unique(log.pair)
    user = pairs // log.stories
    pairs = pairs[np.bincount(user, minlength=log.users)[user] >= MIN_STORIES]
    refuse_empty("published", pairs.tolist())
    _, drawn = train_test_split(pairs, test_size=TEST_SHARE, stratify=pairs // log.stories, random_state=SEED)
    test = hidden(log, np.isin(log.pair, pairs), drawn)
    return _at_random(
        "published", log, test, NEGATIVES if negatives is None else negatives, np.random.default_rng(SEED)
    )


def _at_random(protocol: str, log: Log, test: Task, negatives: int | None, rng: np.random.Generator) -> Split:
    """Validation, then teaching, hide shares of what `test` knows; units are users."""
    inner = hide(log, test.known, VALIDATION_SHARE, rng)
    validation = with_pools(log, [inner] if len(inner) else [], negatives)
    tests = with_pools(log, [test], negatives)
    taught = hide(log, test.known, TEACHING_SHARE, rng)
    return Split(protocol, tests, validation, (taught,) if len(taught) else (), by_time=False, unit="user")


def hide(log: Log, exists: Bools, share: float, rng: np.random.Generator) -> Task:
    """The task whose positives are a random `share` of the pairs in `exists` of users with enough of them."""
    first = log.first & exists
    busy = np.bincount(log.user[first], minlength=log.users) >= MIN_STORIES
    pairs = np.sort(log.pair[first & busy[log.user]])
    return hidden(log, exists, pairs[rng.random(len(pairs)) < share])


def hidden(log: Log, exists: Bools, pairs: I64) -> Task:
    """The task at the end of the log in which the interactions of `pairs` are not known and their stories are the positives."""
    at_us = int(log.at_us.max()) + 1_000_000
    out = np.isin(log.pair, pairs)
    live = log.live(at_us)
    return asked(log, at_us, exists & ~out, live, out & log.first & live[log.story])


PROTOCOLS: dict[str, Callable[[Log, int | None], Split]] = {
    "published": published,
    "rolling": rolling,
    "random": random_split,
    "time": time_split,
}
"""Name → function of a log and the number of sampled negatives (None: the protocol's own). BadInput where one does not fit."""

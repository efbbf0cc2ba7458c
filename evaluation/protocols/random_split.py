"""A fifth of all (user, story) at random, whenever it was; everything live is ranked."""

from __future__ import annotations

import numpy as np

from evaluation.protocols.task import MIN_STORIES, SEED, Split, Task, asked, refuse_empty, with_pools
from evaluation.reading_log import Log
from features.arrays import Bools

TEST_SHARE = 0.2
VALIDATION_SHARE = 0.1
TEACHING_SHARE = 0.2
"""As much as is tested on, so that a ranking learns from users who are known as well as those it will be asked about."""


def random_split(log: Log, negatives: int | None = None) -> Split:
    """One task at the end of the log. Only users with enough stories have any hidden; the others are known whole."""
    rng = np.random.default_rng(SEED)
    everything = np.ones(len(log), bool)
    test = hide(log, everything, TEST_SHARE, rng)
    refuse_empty("random", [test] if len(test) else [])
    inner = hide(log, test.known, VALIDATION_SHARE, rng)
    validation = with_pools(log, [inner] if len(inner) else [], negatives)
    tests = with_pools(log, [test], negatives)
    return Split("random", tests, validation, teaching(log, test, rng), by_time=False, unit="user")


def teaching(log: Log, test: Task, rng: np.random.Generator) -> tuple[Task, ...]:
    """One task, with TEACHING_SHARE of what `test` knows hidden; none when that is nothing."""
    task = hide(log, test.known, TEACHING_SHARE, rng)
    return (task,) if len(task) else ()


def hide(log: Log, exists: Bools, share: float, rng: np.random.Generator) -> Task:
    """The task whose positives are a random `share` of the pairs in `exists` of users with enough of them."""
    first = log.first & exists
    busy = np.bincount(log.user[first], minlength=log.users) >= MIN_STORIES
    pairs = np.sort(log.pair[first & busy[log.user]])
    return hidden(log, exists, pairs[rng.random(len(pairs)) < share])


def hidden(log: Log, exists: Bools, pairs: np.ndarray) -> Task:
    """The task at the end of the log in which the interactions of `pairs` are not known and their stories are the positives."""
    at_us = int(log.at_us.max()) + 1_000_000
    out = np.isin(log.pair, pairs)
    live = log.live(at_us)
    return asked(log, at_us, exists & ~out, live, out & log.first & live[log.story])

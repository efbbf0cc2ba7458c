"""The protocol of DeskDrop's own notebook, for any lake.

Users with at least five stories; of their (user, story) a fifth is the test, stratified by user, seed 42, so not by
time; each is ranked among 100 random stories that the user never touched.
"""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import train_test_split

from evaluation.protocols.random_split import VALIDATION_SHARE, hidden, hide, teaching
from evaluation.protocols.task import MIN_STORIES, NEGATIVES, SEED, Split, refuse_empty, with_pools
from evaluation.reading_log import Log

TEST_SHARE = 0.2


def published(log: Log, negatives: int | None = None) -> Split:
    """One task at the end of the log; interactions of users with fewer stories are not known at all. Units are users."""
    pairs = np.unique(log.pair)
    user = pairs // log.stories
    pairs = pairs[np.bincount(user, minlength=log.users)[user] >= MIN_STORIES]
    refuse_empty("published", pairs.tolist())
    _, drawn = train_test_split(pairs, test_size=TEST_SHARE, stratify=pairs // log.stories, random_state=SEED)
    test = hidden(log, np.isin(log.pair, pairs), drawn)
    rng = np.random.default_rng(SEED)
    inner = hide(log, test.known, VALIDATION_SHARE, rng)
    pools = NEGATIVES if negatives is None else negatives
    validation = with_pools(log, [inner] if len(inner) else [], pools)
    tests = with_pools(log, [test], pools)
    return Split("published", tests, validation, teaching(log, test, rng), by_time=False, unit="user")

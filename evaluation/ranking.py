"""From scores to ranks: where each positive stands among what is eligible, and what stands on top."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evaluation.protocols.task import Task
from evaluation.reading_log import Log
from evaluation.systems.system import System
from features.arrays import F32, I32, I64
from features.ranking_metrics import TOP

USERS_AT_ONCE = 256
"""Users scored at once: 20 MB of scores for 20,000 stories."""
NOTHING = -1
"""In a list that is shorter than TOP."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """What one system made of one task."""

    ranks: I64
    """int64[p]: eligible stories above each positive"""
    top: I32
    """int32[users, TOP]: the best eligible stories, NOTHING at the end"""


def ranked(log: Log, task: Task, system: System) -> Ranked:
    """Asks the system, which has been fitted, for everybody in the task. A tie goes to the story of the lesser hash."""
    parts = list(_parts(log, task, system))
    return Ranked(np.concatenate([part.ranks for part in parts]), np.concatenate([part.top for part in parts]))


def _parts(log: Log, task: Task, system: System) -> Iterator[Ranked]:
    seen_user, seen_story = _seen(log, task)
    for start in range(0, len(task.users), USERS_AT_ONCE):
        users = task.users[start : start + USERS_AT_ONCE]
        scores = np.array(system.scores(users), np.float32)
        mine = slice(*np.searchsorted(task.asked, [start, start + len(users)]))
        row, positive = task.asked[mine] - start, task.positives[mine]
        pools = None if task.pools is None else task.pools[mine]
        in_pool = None if pools is None else _ranks_in_pools(scores, row, positive, pools)
        scores[:, ~task.live] = np.nan  # compares false with everything, so it is above nobody
        theirs = (seen_user >= users[0]) & (seen_user <= users[-1])
        at = np.searchsorted(users, seen_user[theirs])
        scores[at, seen_story[theirs]] = np.nan
        yield Ranked(_ranks(scores, row, positive) if in_pool is None else in_pool, _top(scores))


def _seen(log: Log, task: Task) -> tuple[I32, I32]:
    """(user, story) of what users in the task have read in what is known."""
    rows = task.known & np.isin(log.user, task.users)
    pairs = np.unique(log.pair[rows])
    return (pairs // log.stories).astype(np.int32), (pairs % log.stories).astype(np.int32)


def _ranks(scores: F32, row: I32, positive: I32) -> I64:
    ranks = np.empty(len(row), np.int64)
    for i, (r, story) in enumerate(zip(row, positive, strict=True)):
        mine = scores[r]
        own = mine[story]
        ranks[i] = np.count_nonzero(mine > own) + np.count_nonzero(mine[:story] == own)
    return ranks


def _ranks_in_pools(scores: F32, row: I32, positive: I32, pools: I32) -> I64:
    own, others = scores[row, positive][:, None], scores[row[:, None], pools]
    above = (others > own) | ((others == own) & (pools < positive[:, None]))
    return above.sum(axis=1)


def _top(scores: F32) -> I32:
    """The TOP best of each row, best first; NaN is not eligible."""
    size = min(TOP, scores.shape[1])
    order = np.argsort(np.where(np.isnan(scores), np.inf, -scores), axis=1, kind="stable")[:, :size]
    missing = np.isnan(np.take_along_axis(scores, order, axis=1))
    top = np.where(missing, NOTHING, order).astype(np.int32)
    return np.pad(top, ((0, 0), (0, TOP - size)), constant_values=NOTHING)

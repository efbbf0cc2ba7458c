"""What a ranking system has to be, and what is made of its scores: ranks of what was wanted, the top, a choice of constants."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from evaluation.reading_log import Log
from evaluation.task import Split, Task
from features.arrays import F32, I32, I64
from features.ranking_metrics import TOP, per_request

LAST = float("-inf")
"""Score of a story that the system would not show: it stands below all others."""
USERS_AT_ONCE = 256
"""Users scored at once: 20 MB of scores for 20,000 stories."""
NOTHING = -1
"""In a list that is shorter than TOP."""
CRITERION = "ndcg@10"


class System(Protocol):
    """Prepared once for a split, then fitted to each of its tasks in the order of time, and asked."""

    @property
    def name(self) -> str:
        """As tables and rows call it."""
        ...

    def prepare(self, log: Log, split: Split) -> str:
        """Whatever is done once: choosing constants on `split.validation`, computing features for all tasks.

        Returns what was chosen, in a few words for a user; empty: nothing was.
        """
        ...

    def fit(self, log: Log, task: Task) -> None:
        """Learn from `task.known`, and from nothing else."""
        ...

    def scores(self, users: I32) -> F32:
        """float32[users, n]: greater is better, LAST for what would not be shown; never NaN."""
        ...


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
    seen_user, seen_story = _read(log, task)
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


def _read(log: Log, task: Task) -> tuple[I32, I32]:
    """(user, story) of what users in the task have read in what is known."""
    rows = task.known & np.isin(log.user, task.users)
    pairs = np.unique(log.pair[rows])
    return (pairs // log.stories).astype(np.int32), (pairs % log.stories).astype(np.int32)


def _ranks(scores: F32, row: I32, positive: I32) -> I64:
    """int64[p]: the place, 0 on top, of story `positive[i]` among all stories for user `row[i]` of `scores` [users, stories].

    NaN is above nobody; of equal scores the story of the lesser number is above. `row` and `positive`: int32[p].
    """
    ranks = np.empty(len(row), np.int64)
    for i, (r, story) in enumerate(zip(row, positive, strict=True)):
        mine = scores[r]
        own = mine[story]
        ranks[i] = np.count_nonzero(mine > own) + np.count_nonzero(mine[:story] == own)
    return ranks


def _ranks_in_pools(scores: F32, row: I32, positive: I32, pools: I32) -> I64:
    """int64[p]: the same among the stories of `pools` [p, pool size] alone."""
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


@dataclass(frozen=True, slots=True)
class Budget:
    """Time for choosing the constants of one system."""

    seconds: float = 60.0
    """No further setting is tried after this; one that has begun is finished. 0: the first is taken untried."""


Tried = TypeVar("Tried", bound=System)


def best_of(settings: Iterable[Tried], log: Log, tasks: Sequence[Task], budget: Budget) -> Tried | None:
    """The system, out of the same with different constants, with the best mean criterion; the first of equals.

    None when there is nothing to validate on or no time: then the caller's defaults hold.
    """
    started, best, best_value = time.monotonic(), None, -np.inf
    for system in settings if tasks else ():
        if time.monotonic() - started >= budget.seconds:
            break
        value = _criterion(system, log, tasks)
        if value > best_value:
            best, best_value = system, value
    return best


def _criterion(system: System, log: Log, tasks: Sequence[Task]) -> float:
    values = []
    for task in tasks:
        system.fit(log, task)
        ranks = ranked(log, task, system).ranks
        values.append(per_request(ranks, task.request, int(task.request.max()) + 1)[CRITERION])
    return float(np.concatenate(values).mean())

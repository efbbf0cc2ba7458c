"""What every protocol is made of: tasks, each one moment at which some users are to be ranked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from evaluation.reading_log import Log
from features.arrays import I32, I64, Bools
from features.errors import BadInput

MIN_STORIES = 5
"""Different stories a user must have read before rankings for them are evaluated, as in the published protocol."""
NEGATIVES = 100
"""Stories among which a sampled protocol ranks each positive."""
SEED = 42
"""Of every split and every sample; the published one's."""


@dataclass(frozen=True, slots=True)
class Task:
    """One moment. Systems learn from `known` only, and rank the stories of `live` that the user has not read in it."""

    at_us: int
    known: Bools
    """bool[m]: interactions of the log that may be learnt from"""
    live: Bools
    """bool[n]"""
    users: I32
    """int32[b], ascending: who is ranked for"""
    asked: I32
    """int32[p], ascending: index into `users` of each positive"""
    positives: I32
    """int32[p]: stories that turned out to be read"""
    pools: I32 | None = None
    """int32[p, negatives]: among which each positive is ranked; None: among everything eligible"""

    def __len__(self) -> int:
        return len(self.positives)

    @property
    def request(self) -> I64:
        """int64[p]: the request of each positive. A user is one request; in pools each positive is one of its own."""
        return self.asked.astype(np.int64) if self.pools is None else np.arange(len(self), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Split:
    """One protocol applied to one log."""

    protocol: str
    tasks: tuple[Task, ...]
    """In the order of time."""
    validation: tuple[Task, ...]
    """Made of what the first task knows, the same way: here constants may be chosen, and nowhere else."""
    teaching: tuple[Task, ...]
    """Made of what the first task knows: here a ranking may be learned. By time: earlier moments, ascending."""
    by_time: bool
    """Whether `known` is all that was received before `at_us`; else interactions are hidden at random."""
    unit: Literal["user", "day"]
    """What intervals resample."""


def moment(log: Log, start_us: int, end_us: int, among: Bools | None = None) -> Task | None:
    """What users with enough history read for the first time in [start, end), ranked at its start; None: nobody did.

    `among`: bool[m], the interactions that exist (for validation, which must not see later ones); None: all.
    """
    exists = np.ones(len(log), bool) if among is None else among
    known = exists & (log.known_us < start_us)
    live = log.live(start_us)
    first = log.first & exists
    busy = np.bincount(log.user[first & known], minlength=log.users) >= MIN_STORIES
    wanted = first & ~known & (log.at_us >= start_us) & (log.at_us < end_us) & live[log.story] & busy[log.user]
    return asked(log, start_us, known, live, wanted) if wanted.any() else None


def asked(log: Log, at_us: int, known: Bools, live: Bools, wanted: Bools) -> Task:
    """The task whose positives are the (user, story) of the interactions `wanted`: bool[m], each pair once."""
    user, story = log.user[wanted], log.story[wanted]
    order = np.lexsort((story, user))
    users, index = np.unique(user[order], return_inverse=True)
    return Task(at_us, known, live, users.astype(np.int32), index.astype(np.int32), story[order])


def sampled(log: Log, task: Task, negatives: int, seed: int = SEED) -> Task:
    """The task with a pool for every positive: live stories that its user never reads, drawn without replacement.

    BadInput when somebody leaves fewer than `negatives` of them.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(log.user, kind="stable")
    starts = np.searchsorted(log.user[order], np.arange(log.users + 1))
    pools = np.empty((len(task), negatives), np.int32)
    for index, user in enumerate(task.users):
        free = task.live.copy()
        free[log.story[order[starts[user] : starts[user + 1]]]] = False
        choice = np.flatnonzero(free).astype(np.int32)
        if len(choice) < negatives:
            raise BadInput(
                f"{log.user_ids[int(user)]} leaves {len(choice)} stories unread, too few for {negatives} negatives; "
                "choose another protocol or fewer negatives."
            )
        mine = np.flatnonzero(task.asked == index)
        pools[mine] = _draws(rng, choice, len(mine), negatives)
    return replace(task, pools=pools)


def _draws(rng: np.random.Generator, choice: I32, times: int, size: int) -> I32:
    """int32[times, size]: each row distinct entries of `choice`, any set as likely as any other."""
    keys = rng.random((times, len(choice)))
    return choice[np.argpartition(keys, size - 1, axis=1)[:, :size]]


def with_pools(log: Log, tasks: Sequence[Task], negatives: int | None) -> tuple[Task, ...]:
    """The tasks, sampled when `negatives` is a number."""
    return tuple(tasks) if negatives is None else tuple(sampled(log, task, negatives) for task in tasks)


def refuse_empty(protocol: str, tasks: Sequence[object]) -> None:
    """BadInput when nothing is left to evaluate."""
    if not tasks:
        raise BadInput(
            f"The protocol {protocol} finds nobody to evaluate: it takes users with {MIN_STORIES} different stories read "
            "before, who later read another one that was out by then; bring more events or choose another protocol."
        )

"""Feeds that look at no user: newest first, popularity, and popularity that fades."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from evaluation.ranking import Budget, best_of
from evaluation.reading_log import Log
from evaluation.task import Split, Task
from features.arrays import F32, F64, I32, I64
from features.times import DAY_US


class _SameForAll:
    """One score a story."""

    name: ClassVar[str]
    _score: F32

    def prepare(self, log: Log, split: Split) -> str:
        """Nothing to choose."""
        return ""

    def scores(self, users: I32) -> F32:
        """float32[users, n]."""
        return np.broadcast_to(self._score, (len(users), len(self._score)))


class NewestFirst(_SameForAll):
    """By publication, newest first."""

    name: ClassVar[str] = "newest first"

    def fit(self, log: Log, task: Task) -> None:
        """The rank of the date, because float32 cannot tell microseconds apart."""
        self._score = np.unique(log.published_us, return_inverse=True)[1].astype(np.float32)


class Popularity(_SameForAll):
    """By Σ over users of log2(1 + Σ strength): the published popularity."""

    name: ClassVar[str] = "popularity"

    def fit(self, log: Log, task: Task) -> None:
        """Counts what is known."""
        user_story, strength = pair_strengths(log, task)
        self._score = np.bincount(user_story % log.stories, strength, log.stories).astype(np.float32)


HALF_LIVES_D = (0.5, 1.0, 2.0, 4.0, 0.25, 8.0, 16.0, 32.0, 128.0)
"""Tried in this order."""


class DecayedPopularity(_SameForAll):
    """By how many users first read it, each read halved every half-life; the half-life is chosen on validation."""

    name: ClassVar[str] = "decayed popularity"

    def __init__(self, half_life_d: float = HALF_LIVES_D[0], budget: Budget | None = None) -> None:
        self.half_life_d = half_life_d
        self._budget = budget or Budget()

    def prepare(self, log: Log, split: Split) -> str:
        """Chooses the half-life."""
        best = best_of([DecayedPopularity(days) for days in HALF_LIVES_D], log, split.validation, self._budget)
        self.half_life_d = (best or self).half_life_d
        return f"half-life {self.half_life_d:g} d"

    def fit(self, log: Log, task: Task) -> None:
        """Counts what is known."""
        at = np.flatnonzero(task.known & log.first)
        age_d = (task.at_us - log.at_us[at]) / DAY_US
        self._score = np.bincount(log.story[at], np.exp2(-age_d / self.half_life_d), log.stories).astype(np.float32)


def pair_strengths(log: Log, task: Task) -> tuple[I64, F64]:
    """Pairs known to a task, ascending, and log2(1 + Σ strength) of each: int64[q], float64[q]."""
    pairs, index = np.unique(log.pair[task.known], return_inverse=True)
    return pairs, np.log2(1.0 + np.bincount(index, log.strength[task.known]))

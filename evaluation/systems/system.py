"""What a ranking system has to be, to be evaluated."""

from __future__ import annotations

from typing import Protocol

from evaluation.protocols.task import Split, Task
from evaluation.reading_log import Log
from features.arrays import F32, I32

LAST = float("-inf")
"""Score of a story that the system would not show: it stands below all others."""


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

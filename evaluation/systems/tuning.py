"""Choosing constants on the validation tasks of a split, within a stated time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from evaluation.protocols.task import Task
from evaluation.reading_log import Log
from evaluation.systems.system import System
from features.ranking_metrics import per_request

CRITERION = "ndcg@10"


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
    from evaluation.ranking import ranked

    values = []
    for task in tasks:
        system.fit(log, task)
        ranks = ranked(log, task, system).ranks
        values.append(per_request(ranks, task.request, int(task.request.max()) + 1)[CRITERION])
    return float(np.concatenate(values).mean())

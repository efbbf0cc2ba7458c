"""Runs systems over a split and turns ranks into metrics with intervals."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from rich.progress import Progress

from evaluation.ranking import NOTHING, System, ranked
from evaluation.reading_log import Log
from evaluation.task import SEED, Split, Task
from features.arrays import F32, F64, I32, I64, Bools
from features.ranking_metrics import (
    TOP,
    Estimate,
    coverage,
    gini,
    mean,
    of_counts,
    per_request,
    resamples,
    self_information,
)
from rex.local.progress import bar

LIST_RESAMPLES = 200
"""For coverage and Gini, which count every story anew each time; a standard deviation needs no more."""
Values = dict[str, F64]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One system under one protocol."""

    system: str
    chosen: str
    """Constants, in a few words."""
    metrics: dict[str, Estimate]
    values: Values
    """Metric → float64[requests], in the same order for all systems of a split; for paired differences."""
    seconds: tuple[float, float]
    """Preparing once; fitting and ranking all tasks."""


def evaluate_systems(
    log: Log, split: Split, systems: Sequence[System], progress: Progress | None = None
) -> list[Evaluated]:
    """Every system on the same tasks, requests and resamples."""
    return [_evaluate_one(log, split, system, progress) for system in systems]


def paired(first: Evaluated, second: Evaluated, split: Split, metric: str) -> Estimate:
    """Mean of (first − second), paired request by request, units resampled."""
    unit = _units(split)
    weights = resamples(int(unit.max()) + 1, np.random.default_rng(SEED))
    return mean(first.values[metric] - second.values[metric], unit, weights)


def _evaluate_one(log: Log, split: Split, system: System, progress: Progress | None) -> Evaluated:
    started = time.perf_counter()
    parts, shown, surprise = [], [], []
    with bar(progress, f"{split.protocol}: {system.name}", len(split.tasks)) as advance:
        chosen = system.prepare(log, split)
        prepared = time.perf_counter()
        for task in split.tasks:
            system.fit(log, task)
            result = ranked(log, task, system)
            parts.append(per_request(result.ranks, task.request, int(task.request.max()) + 1))
            shown.append(result.top)
            surprise.append(_novelty(log, task, result.top))
            advance()
    done = time.perf_counter()
    values = {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}
    metrics = _estimates(log, split, values, np.concatenate(shown), np.concatenate(surprise))
    return Evaluated(system.name, chosen, metrics, values, (prepared - started, done - prepared))


def _units(split: Split) -> I64:
    """int64[requests]: what is resampled together."""
    if split.unit == "day":
        return np.concatenate([np.full(int(t.request.max()) + 1, day) for day, t in enumerate(split.tasks)])
    (task,) = split.tasks
    return np.arange(len(task.users)) if task.pools is None else task.asked.astype(np.int64)


def _novelty(log: Log, task: Task, top: I32) -> F64:
    """float64[users]: mean surprise of each list's stories."""
    known = task.known & log.first
    readers = np.bincount(log.story[known], minlength=log.stories)
    bits = self_information(readers, len(np.unique(log.user[known])))
    there = top != NOTHING
    return np.where(there, bits[top], 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)


def _estimates(log: Log, split: Split, values: Values, top: I32, surprise: F64) -> dict[str, Estimate]:
    unit = _units(split)
    units = int(unit.max()) + 1
    weights = resamples(units, np.random.default_rng(SEED))
    found = {metric: mean(value, unit, weights) for metric, value in values.items()}
    of_list = np.concatenate([np.full(len(task.users), i) for i, task in enumerate(split.tasks)])
    list_unit = of_list if split.unit == "day" else np.arange(len(top))
    found[f"novelty@{TOP}"] = mean(surprise, list_unit, weights)
    ever = np.logical_or.reduce([task.live for task in split.tasks])
    return found | _variety(log, top, list_unit, weights[:LIST_RESAMPLES], ever)


def _variety(log: Log, top: I32, unit: I64, weights: F32, ever: Bools) -> dict[str, Estimate]:
    """Coverage of what was ever live, and of its authors; Gini over authors where any is known and shown."""
    there = top != NOTHING
    units = np.repeat(unit, there.sum(axis=1))
    stories = _counts(units, top[there], weights.shape[1], log.stories)[:, ever]
    found = {f"coverage@{TOP}": of_counts(stories, weights, partial(coverage, catalogue=int(ever.sum())))}
    if log.authors:
        author = log.author[top[there]]
        known = author >= 0
        live_authors = np.unique(log.author[ever & (log.author >= 0)])
        authors = _counts(units[known], author[known], weights.shape[1], log.authors)[:, live_authors]
        found[f"author_coverage@{TOP}"] = of_counts(authors, weights, partial(coverage, catalogue=len(live_authors)))
        found[f"author_gini@{TOP}"] = of_counts(authors, weights, gini)
    return {metric: estimate for metric, estimate in found.items() if np.isfinite(estimate.value)}


def _counts(unit: I64, thing: I32, units: int, things: int) -> F64:
    """float64[units, things]: how often each unit shows each thing."""
    return np.bincount(unit * things + thing, minlength=units * things).reshape(units, things).astype(np.float64)

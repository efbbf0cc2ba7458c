"""`simulate`: makes a world and writes it as a raw lake."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.progress import Progress
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from lake.simulator.config import US_PER_DAY, WorldConfig, WorldSummary
from lake.simulator.files import edges_table, stories_table, users_table
from lake.simulator.sessions import USERS_PER_CHUNK
from lake.simulator.work import SCRATCH, workforce
from lake.simulator.world import make_truth, save_truth
from lake.writer import staged_lake, write_raw

INLINE_EVENTS = 200_000
"""Up to here starting worker processes takes longer than they save."""
Result = TypeVar("Result")


def simulate(
    config: WorldConfig, lake: Path, progress: Progress | None = None, workers: int | None = None
) -> WorldSummary:
    """Make the world of `config` and write it as `<lake>/raw/` and `<lake>/world/`; all of it or nothing.

    `workers` processes (default: one a core, none for small worlds) change how long it takes, not one byte of the
    result. Raises BadInput when `lake` is not empty.
    """
    if workers is None:
        workers = os.cpu_count() or 1 if config.events > INLINE_EVENTS else 1
    with staged_lake(lake) as staging, threadpool_limits(1, user_api="blas"):
        truth = make_truth(config)
        save_truth(truth, staging / "world")
        edges = write_raw(staging, "edges", [edges_table(truth)])
        write_raw(staging, "users", [users_table(truth.users)])
        write_raw(staging, "stories", [stories_table(truth)])
        del truth  # every worker reads its own
        events, impressions, requests = _write_events(config, staging, progress, workers)
    return WorldSummary(config.users, config.stories, edges, events, impressions, requests)


def _write_events(config: WorldConfig, staging: Path, progress: Progress | None, workers: int) -> tuple[int, int, int]:
    """Two passes: chunk of users by chunk into scratch files, then day by day, sorted, into the lake."""
    chunks = range(-(-config.users // USERS_PER_CHUNK))
    first_day = config.starts_us // US_PER_DAY
    days = range(first_day, first_day + config.days)
    with workforce(staging, workers) as (simulate_users, write_day):
        _each(simulate_users(chunks), progress, "simulate users", len(chunks))
        counts = _each(write_day(days), progress, "write events", len(days))
    shutil.rmtree(staging / SCRATCH)
    events, impressions, requests = np.array(counts).sum(axis=0).tolist()
    return events, impressions, requests


def _each(results: Iterator[Result], progress: Progress | None, what: str, total: int) -> list[Result]:
    if progress is None:
        return list(results)
    return list(progress.track(results, total=total, description=what))

"""`simulate`: makes a world and writes it as a raw lake, in two parallel passes: in worker processes or, for small worlds, in this one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
from rich.progress import Progress
from threadpoolctl import threadpool_limits

from features.times import DAY_US
from lake.simulator.behaviour import CODE, EventColumns
from lake.simulator.config import WorldConfig, WorldSummary
from lake.simulator.files import REPEATED_SHARE, edges_table, event_table_maker, stories_table, users_table
from lake.simulator.policy import make_beliefs
from lake.simulator.sessions import USERS_PER_CHUNK, make_plan, simulate_chunk
from lake.simulator.world import make_truth, read_truth, save_truth
from lake.writer import staged_lake, write_raw

INLINE_EVENTS = 200_000
"""Up to here starting worker processes takes longer than they save."""
SCRATCH = "scratch"
Counts = tuple[int, int, int]
"""Events, impressions, requests."""
Passes = tuple[Callable[[Iterable[int]], Iterator[None]], Callable[[Iterable[int]], Iterator[Counts]]]
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
    first_day = config.starts_us // DAY_US
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


class SimulationWorker:
    """Holds the world of one staging directory and does both passes' pieces of work."""

    def __init__(self, staging: Path) -> None:
        self.staging = staging
        self.truth = read_truth(staging / "world")
        self.beliefs = make_beliefs(self.truth)
        self.plan = make_plan(self.truth, self.truth.config.events / (1 + REPEATED_SHARE))
        self.event_table = event_table_maker(self.truth.config)

    def simulate_users(self, chunk: int) -> None:
        """First pass: a chunk's events as one scratch file a day."""
        for day, events in simulate_chunk(self.truth, self.beliefs, self.plan, chunk).items():
            path = self.staging / SCRATCH / str(day) / f"{chunk:05d}.arrow"
            path.parent.mkdir(parents=True, exist_ok=True)
            table = pa.table(dict(events))
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)

    def write_day(self, day: int) -> Counts:
        """Second pass: one day's events of everybody, into the lake."""
        scratch = sorted((self.staging / SCRATCH / str(day)).glob("*.arrow"))
        if not scratch:
            return 0, 0, 0
        tables = pa.concat_tables([pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in scratch])
        events: EventColumns = {name: tables[name].to_numpy() for name in tables.column_names}
        date = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date()
        rows = write_raw(self.staging, "events", [self.event_table(day, events)], f"dt={date.isoformat()}")
        impressions = int((events["type"] == CODE["impression"]).sum())
        first_entries = (events["type"] == CODE["impression"]) & (events["position"] == 0)
        return rows, impressions, int(np.sum(first_entries))


@cache
def _worker(staging: Path) -> SimulationWorker:
    """The one of this worker process."""
    threadpool_limits(1, user_api="blas")  # two processes on two cores; and one order of summation everywhere
    return SimulationWorker(staging)


def _simulate_users(staging: Path, chunk: int) -> None:
    _worker(staging).simulate_users(chunk)


def _write_day(staging: Path, day: int) -> Counts:
    return _worker(staging).write_day(day)


@contextmanager
def workforce(staging: Path, workers: int) -> Iterator[Passes]:
    """Both passes as maps over piece numbers, results in order; one worker means this very process."""
    if workers <= 1:
        worker = SimulationWorker(staging)
        yield (lambda chunks: map(worker.simulate_users, chunks)), (lambda days: map(worker.write_day, days))
        return
    context = get_context("spawn")  # forking a process with threads (Arrow, progress bars) can deadlock
    simulate_users, write_day = partial(_simulate_users, staging), partial(_write_day, staging)
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield (lambda chunks: pool.map(simulate_users, chunks)), (lambda days: pool.map(write_day, days))

"""The two parallel passes of a simulation, in worker processes or, for small worlds, in this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from lake.simulator.behaviour import CODE, EventColumns
from lake.simulator.event_files import REPEATED_SHARE, event_table_maker
from lake.simulator.policy import make_beliefs
from lake.simulator.sessions import make_plan, simulate_chunk
from lake.simulator.world import read_truth
from lake.writer import write_raw

SCRATCH = "scratch"
Counts = tuple[int, int, int]
"""Events, impressions, requests."""
Passes = tuple[Callable[[Iterable[int]], Iterator[None]], Callable[[Iterable[int]], Iterator[Counts]]]


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


_worker: SimulationWorker | None = None


def _start(staging: Path) -> None:
    global _worker
    threadpool_limits(1, user_api="blas")  # two processes on two cores; and one order of summation everywhere
    _worker = SimulationWorker(staging)


def _simulate_users(chunk: int) -> None:
    assert _worker is not None
    _worker.simulate_users(chunk)


def _write_day(day: int) -> Counts:
    assert _worker is not None
    return _worker.write_day(day)


@contextmanager
def workforce(staging: Path, workers: int) -> Iterator[Passes]:
    """Both passes as maps over piece numbers, results in order; one worker means this very process."""
    if workers <= 1:
        worker = SimulationWorker(staging)
        yield (lambda chunks: map(worker.simulate_users, chunks)), (lambda days: map(worker.write_day, days))
        return
    context = get_context("spawn")  # forking a process with threads (Arrow, progress bars) can deadlock
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(staging,)) as pool:
        yield (lambda chunks: pool.map(_simulate_users, chunks)), (lambda days: pool.map(_write_day, days))

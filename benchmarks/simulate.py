"""How long `rex simulate` takes and how much memory its processes hold together: `python -m benchmarks.simulate`."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from lake.simulator import WorldConfig, simulate

POLL_S = 0.05
"""Peaks of memory shorter than this are missed; the pieces of work last about a second."""


def measure(events: int, users: int = 5_000, stories: int = 20_000, workers: int | None = None) -> dict[str, float]:
    """Simulate a world into a temporary directory; returns seconds, peak_rss_bytes and events.

    `peak_rss_bytes` is the greatest sum of the resident sizes of this process and all below it; pages they share count
    once for each, so it is an upper bound.
    """
    config = WorldConfig(users=users, stories=stories, events=events, ends_at=datetime(2026, 11, 20, tzinfo=UTC))
    with tempfile.TemporaryDirectory() as directory, _PeakRss() as peak:
        started = time.perf_counter()
        summary = simulate(config, Path(directory) / "lake", workers=workers)
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "peak_rss_bytes": peak.bytes, "events": summary.events}


class _PeakRss:
    """Watches the resident size of this process and its descendants (Linux) while its block runs."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _PeakRss:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(POLL_S):
            self.bytes = max(self.bytes, _rss_of_tree(os.getpid()))


def _rss_of_tree(pid: int) -> int:
    """Bytes resident in a process and all below it; 0 for one that has just ended."""
    try:
        own = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return own + sum(map(_rss_of_tree, children))


if __name__ == "__main__":
    result = measure(*(int(argument) for argument in sys.argv[1:4] or ["10000000"]))
    print(
        f"{result['events']:,.0f} events in {result['seconds']:.1f} s, at most {result['peak_rss_bytes'] / 2**20:,.0f} MiB"
    )

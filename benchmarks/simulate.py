"""How long simulating ten million events takes, and how much memory its processes hold together."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.progress import Progress

from benchmarks.measuring import elapsed_ms
from benchmarks.results import Result, measured
from lake.simulator import WorldConfig, simulate

WORLD = WorldConfig(users=5_000, stories=20_000, events=10_000_000, ends_at=datetime(2026, 11, 20, tzinfo=UTC))
POLL_S = 0.05
"""Peaks of memory shorter than this are missed; the pieces of work last about a second."""


def measure(progress: Progress) -> list[Result]:
    """Within two minutes and 2 GiB: the greatest sum of the resident sizes of this process and all below it, in which pages
    that they share count once for each."""
    progress.add_task("simulate 10 million events", total=None)
    with tempfile.TemporaryDirectory() as directory, _PeakRss() as peak:
        took_ms = elapsed_ms(lambda: simulate(WORLD, Path(directory) / "lake"))
    return [
        measured("simulate_10m_seconds", took_ms / 1000, "s", bar=120.0),
        measured("simulate_10m_peak_rss", peak.bytes / 2**30, "GiB", bar=2.0),
    ]


class _PeakRss:
    """Watches the resident size of this process and its descendants while its block runs."""

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
            self.bytes = max(self.bytes, _rss_of_tree())


def _rss_of_tree() -> int:
    """Bytes resident in this process and all below it; none for one that has just ended."""
    own, total = psutil.Process(), 0
    for process in (own, *own.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total

"""What several benchmarks measure with: a stopwatch, an app behind a server, and the trace of a service's last page."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from online.context import Trace
from online.metrics import Metrics
from online.wiring import AppState
from rex.model_service.app import KEEP_ALIVE_S


def elapsed_ms(work: Callable[[], object]) -> float:
    """Milliseconds that one call takes."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


@contextmanager
def served(app: FastAPI) -> Iterator[int]:
    """The app behind a server as `rex serve` runs it, on this machine; yields its port."""
    config = uvicorn.Config(app, port=0, log_level="warning", access_log=False, timeout_keep_alive=KEEP_ALIVE_S)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


class TracedMetrics(Metrics):
    """The usual ones, which keep the last trace."""

    last = Trace()

    def observe_page(self, trace: Trace, *, cached: bool, stale: bool) -> None:
        """Counts and keeps it."""
        super().observe_page(trace, cached=cached, stale=stale)
        self.last = trace


def last_trace(rex: AppState) -> Trace:
    """Of the last page of a service wired with TracedMetrics."""
    assert isinstance(rex.metrics, TracedMetrics)
    return rex.metrics.last

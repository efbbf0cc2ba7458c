"""What the stages of the last page did, as a service reports it to its metrics."""

from __future__ import annotations

from online.context import Trace
from online.metrics import Metrics
from online.wiring import AppState


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

"""What the service counts, for Prometheus. docs/api.md lists every name."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from online.context import Trace

STAGE_BUCKETS_MS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 1000)
"""From a cached page to a slow machine with millions of stories."""

SLATE_BUCKETS_BYTES = (1_000, 2_500, 5_000, 10_000, 20_000, 40_000, 100_000, 1_000_000)
"""A thousand entries are some 24 kB with promotions; a slate with sampled features is several times as large."""


class Metrics:
    """One set per app, so that several apps in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.pages = Counter("rex_pages", "Pages answered", ["cached"], registry=self.registry)
        self.stale = Counter("rex_stale_pages", "Pages answered while the next slate was built", registry=self.registry)
        self.waits = Counter("rex_build_waits", "Requests that waited for another's slate", registry=self.registry)
        self.slate_bytes = Histogram(
            "rex_slate_bytes", "Bytes of a slate", buckets=SLATE_BUCKETS_BYTES, registry=self.registry
        )
        self.problems = Counter("rex_problems", "Requests answered with a problem", ["type"], registry=self.registry)
        self.stage_ms = Histogram(
            "rex_stage_ms", "Milliseconds in a stage", ["stage"], buckets=STAGE_BUCKETS_MS, registry=self.registry
        )
        self.dropped = Counter("rex_dropped", "Candidates dropped", ["stage", "reason"], registry=self.registry)
        self.degraded = Counter("rex_degraded", "Parts a feed went without", ["part"], registry=self.registry)
        self.events = Counter("rex_events", "Events by outcome", ["outcome"], registry=self.registry)
        self.rejected = Counter("rex_rejected_events", "Events rejected", ["code"], registry=self.registry)
        self.archived = Counter("rex_archived_entries", "Stream entries moved to the lake", registry=self.registry)
        self.dead_letters = Gauge(
            "rex_dead_letters", "Entries set aside as impossible to process", registry=self.registry
        )
        self.fanned_out = Counter(
            "rex_fanned_out", "Stories fanned out, timelines reconciled", ["what"], registry=self.registry
        )
        self.served_lost = Counter(
            "rex_served_lost", "Answered pages that were never written to the log", registry=self.registry
        )
        self.stories = Gauge("rex_snapshot_stories", "Stories in the loaded snapshot", registry=self.registry)
        self.delta = Gauge("rex_delta_rows", "Stories put since the loaded snapshot", registry=self.registry)

    def observe_page(self, trace: Trace, *, cached: bool, stale: bool) -> None:
        """Counts one page, once it is made; `trace` is whole by then."""
        self.pages.labels("true" if cached else "false").inc()
        self.stale.inc(stale)
        self.observe_stages(trace)

    def observe_stages(self, trace: Trace) -> None:
        """Counts what the stages of one request, or of one building in the background, did."""
        for report in trace.stages:
            self.stage_ms.labels(report.stage).observe(report.ms)
            for reason, count in report.dropped.items():
                self.dropped.labels(report.stage, reason).inc(count)
        for part in trace.degraded:
            self.degraded.labels(part).inc()

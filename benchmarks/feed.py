"""A cache-miss feed over 500,000 stories, every one a candidate: published, loaded and served as in production.

The physical limit beside it: reading every column that the seven stages read, once, in this process.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import redis
from rich.progress import Progress

from benchmarks.big_snapshot import AS_OF, DAYS, drawn_model, publish_big
from benchmarks.measuring import TracedMetrics, elapsed_ms, last_trace
from benchmarks.results import Result, measured
from features.keys import Keys
from features.settings import Settings
from features.times import micros
from online.components import default_components
from online.context import Trace
from online.feed.preparing import FeedRequest
from online.rankers.learned import ranker_for
from online.service_settings import OnlineSettings
from online.story_table.table import StoryTable
from online.timelines.reconciling import Reconciler
from online.wiring import AppState, wire
from rex.local.redis_server import server

STORIES = 500_000
USERS = 200
REQUESTS = 100
"""Different users, one after the other: enough for a steady median; each request misses the cache."""
WARM_UP = 5
BAR_MS, AIM_MS = 150.0, 50.0


def measure(progress: Progress) -> list[Result]:
    """Results of the cache-miss feed, stage by stage, and of a cached page."""
    with tempfile.TemporaryDirectory() as directory, server(Path(directory)) as running, running.client() as client:
        rex, snapshot = _loaded(client, running.url, Path(directory), progress)
        missed, stages, candidates = _measure_missed(rex, progress)
        cached = _times(lambda i: rex.feeds.feed(FeedRequest(f"user-{i % USERS}"), _now_us(0)), REQUESTS)
        limit_ms = _read_once_ms(rex.live.get())
        learned = _measure_learned(rex, progress)
    p50, p95 = np.percentile(missed, [50, 95])
    return [
        measured("feed_miss_500k_p50", float(p50), "ms", baseline=limit_ms, bar=BAR_MS, aim=AIM_MS),
        measured("feed_miss_500k_p95", float(p95), "ms", baseline=limit_ms),
        *(measured(f"feed_miss_500k_{stage}_p50", float(np.median(ms)), "ms") for stage, ms in stages.items()),
        measured("feed_miss_500k_candidates", float(candidates), "stories"),
        measured("feed_cached_500k_p50", float(np.median(cached)), "ms"),
        *learned,
        *snapshot,
    ]


def _loaded(client: redis.Redis, url: str, var: Path, progress: Progress) -> tuple[AppState, list[Result]]:
    """A service over the drawn snapshot, and what it took to publish and to load that."""
    settings = Settings(var=var, lake=var / "lake", redis_url=url, redis_timeout_s=30)
    started = time.perf_counter()
    manifest = publish_big(client, Keys(settings.redis_prefix), STORIES, USERS, seed=0, progress=progress)
    published = time.perf_counter()
    online = OnlineSettings(strict=True, aggregate={"fresh_window_d": DAYS + 1})  # so that every story is brought
    rex = wire(client, settings, online, default_components(), lambda: AS_OF, TracedMetrics())
    wired = time.perf_counter()
    rex.live.refresh()
    results = [
        measured("publish_500k_seconds", published - started, "s"),
        measured("load_500k_seconds", time.perf_counter() - wired, "s"),
        measured("snapshot_500k_size", manifest.size_bytes / 2**20, "MiB"),
    ]
    reconciler = Reconciler(client, rex.keys, online, rex.live, lambda: AS_OF)
    for user in range(USERS):  # active users, whose timelines the worker of a serving process has made
        reconciler.reconcile(f"user-{user}")
    return rex, results


def _measure_learned(rex: AppState, progress: Progress) -> list[Result]:
    """The same feeds with models for the best candidates of the first-stage ranker, as a snapshot with a model is ranked."""
    first_stage = rex.live.loaded().ranker
    rex.live.loaded().ranker = ranker_for(rex.online, drawn_model(), "drawn")
    try:
        missed, stages, _ = _measure_missed(rex, progress)
    finally:
        rex.live.loaded().ranker = first_stage
    p50, p95 = np.percentile(missed, [50, 95])
    return [
        measured("feed_miss_500k_learned_p50", float(p50), "ms", bar=BAR_MS, aim=AIM_MS),
        measured("feed_miss_500k_learned_p95", float(p95), "ms"),
        measured("feed_miss_500k_learned_rank_p50", float(np.median(stages["rank"])), "ms"),
    ]


def _now_us(i: int) -> int:
    """A later second for every request, so that no two make the same slate."""
    return micros(AS_OF) + i * 1_000_000


def _measure_missed(rex: AppState, progress: Progress) -> tuple[list[float], dict[str, list[float]], int]:
    """Milliseconds of each request and of each stage, and how many candidates each request had."""
    stages: dict[str, list[float]] = {}
    candidates = 0

    def request(i: int) -> None:
        nonlocal candidates
        rex.feeds.feed(FeedRequest(f"user-{i % USERS}", fresh=True), _now_us(i))
        trace = last_trace(rex)
        candidates = _assert_complete(trace)
        for report in trace.stages:
            stages.setdefault(report.stage, []).append(report.ms)

    bar = progress.add_task("500,000-story feeds", total=REQUESTS + WARM_UP)
    times = _times(request, REQUESTS + WARM_UP, lambda: progress.advance(bar))
    return times[WARM_UP:], {stage: ms[WARM_UP:] for stage, ms in stages.items()}, candidates


def _assert_complete(trace: Trace) -> int:
    """Every story was a candidate, and candidates less drops by reason is what was ranked."""
    stages: dict[str, Any] = {report.stage: report for report in trace.stages}
    found, kept = stages["aggregate"].given, stages["preprocess"]
    assert found == STORIES, f"only {found:,} of {STORIES:,} stories were candidates"
    assert found - sum(kept.dropped.values()) == stages["rank"].taken, "candidates went missing without a reason"
    return int(found)


def _times(work: Callable[[int], object], n: int, done: Callable[[], None] = lambda: None) -> list[float]:
    out = []
    for i in range(n):
        out.append(elapsed_ms(partial(work, i)))
        done()
    return out


def _read_once_ms(story_table: StoryTable) -> float:
    """Milliseconds to read once what a request reads: the least that looking at every story can take."""
    columns = [
        story_table.author, story_table.publication, story_table.topics, story_table.language, story_table.published_at, story_table.visibility,
        story_table.members_only, story_table.vectors, *story_table.static.values(),
    ]  # fmt: skip
    return float(np.median(_times(lambda i: [column.max() for column in columns], 9)))

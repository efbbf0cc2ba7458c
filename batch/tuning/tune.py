"""`rex tune`: chooses the constants that suit what a lake knows at a moment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from rich.progress import Progress

from batch.io import read_derived
from batch.jobs.als_vectors import strengths
from batch.point_in_time import RunContext, visible
from batch.run import run
from batch.session import session
from batch.settings import BatchSettings
from batch.tuning import als, half_lives
from batch.tuning.tuned import Tuned, write_tuned
from features.datasets import dataset
from features.partitions import is_written
from lake.progress import bar

VALIDATED = ("valid_stories", "valid_events")
Stopwatch = Callable[[], float]
"""Seconds, monotonic."""


def tune(
    lake: Path,
    as_of: datetime,
    clock: Stopwatch,
    *,
    now: datetime,
    settings: BatchSettings,
    budget_s: float,
    spark: SparkSession | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Chooses half-lives and the fit of vectors by what was known at `as_of`, and writes `tuned.json`.

    After `budget_s` seconds nothing further is tried; what has begun is finished, and the first of each is always tried. Whatever a
    budget does not cut short follows from the lake alone. Validates first what has not been validated at `as_of`. BadInput
    as of a batch.
    """
    with session(spark, settings) as used, bar(progress, "choose constants", 2) as advance:
        missing = [name for name in VALIDATED if not is_written(lake, [name], as_of)]
        if missing:
            run(lake, [as_of], now=now, settings=settings, jobs=missing, spark=used, progress=progress)
        until = clock() + budget_s
        context = RunContext((as_of,), now, settings)
        stories, events = (
            read_derived(used, lake, dataset(name), (as_of,)).drop("as_of").persist() for name in VALIDATED
        )
        reads = half_lives.reads_of(visible(events, context), visible(stories, context))
        times = half_lives.choose(reads, lambda: clock() < until)
        advance()
        shown = visible(events.where(F.col("type") == "impression"), context).select("user_id", "story_id")
        vectors = als.choose(strengths(events, context), shown, settings, lambda: clock() < until)
        used.catalog.clearCache()
    tuned = Tuned(as_of.isoformat(), {**times[0], **vectors[0]}, (*times[1], *vectors[1]), (*times[2], *vectors[2]))
    write_tuned(lake, tuned)
    return tuned

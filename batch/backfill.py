"""Computes what training lacks: the features of earlier moments of the schedule, as many as possible in one pass.

Daily runs leave the features of every day behind; a lake that was just imported has none of the past. What is computed here is
the same as what daily runs would have left, because no job sees beyond its as_of.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pyspark.sql import SparkSession
from rich.progress import Progress

from batch.constants import constants_version
from batch.graph import Job, closure, order
from batch.run import RunReport, run
from batch.schedule import REFITTED, cadence, fits_wanted, fits_written, schedule_of
from batch.session import session
from batch.settings import BatchSettings
from features.duckdb_views import connect
from features.partitions import is_written
from features.undated import refuse_undated

EXAMPLES = "training_examples"


@dataclass(frozen=True, slots=True)
class Part:
    """Jobs that are missing for the same moments."""

    jobs: tuple[str, ...]
    as_ofs: tuple[datetime, ...]


def make_examples(
    lake: Path,
    as_of: datetime,
    *,
    now: datetime,
    settings: BatchSettings,
    progress: Progress | None = None,
    daily: bool = False,
) -> list[RunReport]:
    """Writes `training_examples` of `as_of`, and before that the features of earlier moments that are missing.

    `daily`: and all that a daily run makes. BadInput for a lake without dates.
    """
    refuse_undated(
        lake,
        "no model can be trained on it yet, because training holds out the last days. Without one, `rex publish` serves it "
        "with the ranker of named weights.",
    )
    with session(None, settings) as spark:
        reports = backfill(lake, as_of, now=now, settings=settings, spark=spark, progress=progress, daily=daily)
        made = run(lake, [as_of], now=now, settings=settings, jobs=[EXAMPLES], spark=spark, progress=progress)
    return [*reports, made]


def backfill(
    lake: Path,
    as_of: datetime,
    *,
    now: datetime,
    settings: BatchSettings,
    spark: SparkSession,
    progress: Progress | None = None,
    daily: bool = False,
) -> list[RunReport]:
    """Runs what has to be there before `training_examples` can look back from `as_of`, and is not.

    `daily`: and what a daily run at `as_of` makes, so that its moment shares the passes of the others.
    """

    def ran(part: Part) -> RunReport:
        return run(
            lake,
            part.as_ofs,
            now=now,
            settings=settings,
            jobs=part.jobs,
            spark=spark,
            progress=progress,
            validated=as_of,
        )

    reports = [ran(part) for part in not_validated(lake, as_of, daily)]
    return reports + [ran(part) for part in missing(lake, as_of, settings, daily)]


def not_validated(lake: Path, as_of: datetime, daily: bool) -> list[Part]:
    """The validating jobs that have not run at `as_of`."""
    names = [job.name for job in _jobs(daily) if job.validates and not is_written(lake, [job.name], as_of)]
    return [Part(tuple(names), (as_of,))] if names else []


def missing(lake: Path, as_of: datetime, settings: BatchSettings, daily: bool) -> list[Part]:
    """All other jobs, in an order in which they can run; valid_events are there already, and show how far back to go."""
    moments = tuple(at for at in schedule_of(as_of, settings) if at > _useless_until(lake, as_of, settings))
    fits = fits_wanted(moments, fits_written(lake, moments, settings), cadence(settings))
    learned, constants = {job.name for job in closure(EXAMPLES)}, constants_version(settings)
    parts: list[Part] = []
    for job in _jobs(daily):
        if job.validates or job.looks_back:
            continue
        wanted = fits if job.name in REFITTED else moments if job.name in learned else ()
        at = {*wanted, *((as_of,) if daily else ())}
        as_ofs = tuple(sorted(moment for moment in at if not is_written(lake, [job.name], moment, constants)))
        if parts and parts[-1].as_ofs == as_ofs:
            parts[-1] = Part((*parts[-1].jobs, job.name), as_ofs)
        else:
            parts.append(Part((job.name,), as_ofs))
    return [part for part in parts if part.as_ofs]


def _jobs(daily: bool) -> list[Job]:
    return order({job.name for job in (*closure(EXAMPLES), *(order() if daily else ()))})


def _useless_until(lake: Path, as_of: datetime, settings: BatchSettings) -> datetime:
    """Nothing was shown while the snapshots up to this moment were current: they precede every event by a step and a lag."""
    with connect(lake, as_of) as db:
        first: datetime | None = db.execute("SELECT min(occurred_at) FROM valid_events").fetchall()[0][0]
    if first is None:
        return as_of
    step = timedelta(minutes=settings.training_lag_min) + timedelta(hours=settings.training_schedule_h)
    return first.astimezone(UTC) - step

"""The earlier moments whose features train models: which they are, and which of them a lake has.

Two datasets are learned from everybody's whole history, and are costly: they may be fitted at a cadence (REFITTED). A moment
between two fits uses the latest that is not after it, whole: its users' and its stories' vectors are of one fit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

from batch.constants import constants_version
from batch.graph import BY_NAME, Job
from batch.point_in_time import RunContext
from batch.settings import BatchSettings
from features.partitions import is_written, partitions
from features.times import rfc3339

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
REFITTED = ("als_vectors", "similar_stories")
"""Datasets that may be older than the rest."""


def schedule_of(as_of: datetime, settings: BatchSettings) -> tuple[datetime, ...]:
    """Moments of the declared schedule that training at `as_of` looks back on, ascending: `training_days` of them, in daily steps.

    They are whole multiples of the schedule's step since 1970 (daily: UTC midnights), whoever asks and whenever. The last is the
    latest whose impressions, a publishing lag after it, can have all their outcomes by `as_of`.
    """
    step = timedelta(hours=settings.training_schedule_h)
    useful = as_of - timedelta(minutes=settings.training_lag_min) - timedelta(hours=settings.training_window_h)
    last, steps = (useful - EPOCH) // step, timedelta(days=settings.training_days) // step
    return tuple(EPOCH + number * step for number in range(last - steps + 1, last + 1))


def latest_fit(fits: Collection[datetime], at: datetime, oldest: timedelta = timedelta.max) -> datetime | None:
    """The latest fit that is not after `at` and less than `oldest` older; None when there is none."""
    return max((fit for fit in fits if timedelta(0) <= at - fit < oldest), default=None)


def fits_wanted(
    moments: Collection[datetime], written: Collection[datetime], cadence: timedelta
) -> tuple[datetime, ...]:
    """The moments at which to fit, so that with those `written` each of `moments` has a fit younger than `cadence`."""
    fits: list[datetime] = []
    for at in sorted(moments):
        if latest_fit([*written, *fits], at, cadence) is None:
            fits.append(at)
    return tuple(fits)


def cadence(settings: BatchSettings) -> timedelta:
    """For how long a fit serves."""
    return timedelta(days=settings.training_refit_d)


def fits_written(lake: Path, moments: Collection[datetime], settings: BatchSettings) -> tuple[datetime, ...]:
    """The moments of the schedule that have a fit and may serve one of `moments`, ascending."""
    if not moments:
        return ()
    step = timedelta(hours=settings.training_schedule_h)
    first, last, constants = min(moments) - cadence(settings), max(moments), constants_version(settings)
    candidates = (last - step * back for back in range((last - first) // step + 1))
    return tuple(sorted(at for at in candidates if is_written(lake, REFITTED, at, constants)))


def looking_back(job: Job, lake: Path, context: RunContext) -> RunContext:
    """The context with the moments of its schedule for which everything the job reads has been written, and their fits."""
    if not job.looks_back:
        return context
    plain = [name for name in job.reads if not BY_NAME[name].validates and name not in REFITTED]
    constants = constants_version(context.settings)
    written = [at for at in declared(context) if is_written(lake, plain, at, constants)]
    fits = fits_written(lake, written, context.settings)
    pairs = ((at, latest_fit(fits, at, cadence(context.settings))) for at in written)
    fit_of = {at: fit for at, fit in pairs if fit is not None}
    return replace(context, schedule=tuple(fit_of), fits=fit_of)


def not_written(job: Job, context: RunContext) -> list[str]:
    """A sentence about the moments that a job that looks back did not find, if any."""
    wanted = declared(context)
    missing = [at for at in wanted if at not in context.schedule] if job.looks_back else []
    if not missing:
        return []
    return [
        f"features of {len(missing)} of {len(wanted)} schedule moments are not written, what was shown then is left out "
        f"(run `rex batch` with them as --as-of): {_told(missing, wanted)}"
    ]


def outdated(lake: Path, name: str) -> list[str]:
    """A sentence about the partitions of a dataset that are there and count as not written, if any."""
    there = partitions(lake, name)
    missing = [at for at, why in there.items() if why]
    if not missing:
        return []
    return [
        f"{len(missing)} of {len(there)} partitions of {name} count as not written (run `rex batch` with them as --as-of, or "
        f"remove them): {_told(missing, there)}; the last {there[missing[-1]]}"
    ]


def _told(some: Sequence[datetime], among: Collection[datetime]) -> str:
    """`some` of the moments `among`, both ascending, those that follow upon each other as one range."""
    places = {at: place for place, at in enumerate(among)}
    runs = groupby(enumerate(some), lambda pair: places[pair[1]] - pair[0])
    ends = ([at for _, at in run] for _, run in runs)
    return ", ".join(rfc3339(run[0]) + (f" to {rfc3339(run[-1])}" if len(run) > 1 else "") for run in ends)


def declared(context: RunContext) -> tuple[datetime, ...]:
    """The schedule moments of all the context's as_ofs."""
    return tuple(sorted({at for as_of in context.as_ofs for at in schedule_of(as_of, context.settings)}))

"""The earlier moments whose features train models: which they are, and which of them a lake has."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from batch.graph import BY_NAME, Job
from batch.point_in_time import Context
from batch.settings import BatchSettings
from features.duckdb_views import partition_name

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def grid_of(as_of: datetime, settings: BatchSettings) -> tuple[datetime, ...]:
    """Moments of the declared grid in the days that training at `as_of` looks back on, ascending.

    They are whole multiples of the grid's step since 1970 (daily: UTC midnights), whoever asks and whenever.
    """
    step = timedelta(hours=settings.training_grid_h)
    last, steps = (as_of - EPOCH) // step, timedelta(days=settings.training_days) // step
    return tuple(EPOCH + number * step for number in range(last - steps + 1, last + 1))


def looking_back(job: Job, lake: Path, context: Context) -> Context:
    """The context with the moments of its grid for which everything the job reads has been written."""
    if not job.looks_back:
        return context
    folders = [lake / "features" / name for name in job.reads if not BY_NAME[name].validates]
    written = [at for at in declared(context) if all((folder / partition_name(at)).is_dir() for folder in folders)]
    return replace(context, grid=tuple(written))


def not_written(job: Job, context: Context) -> list[str]:
    """A sentence about the moments that a job that looks back did not find, if any."""
    missing = len(declared(context)) - len(context.grid) if job.looks_back else 0
    if not missing:
        return []
    return [
        f"features of {missing} of {len(declared(context))} grid moments are not written, what was shown then is left out "
        "(run `rex batch` with them as --as-of)"
    ]


def declared(context: Context) -> tuple[datetime, ...]:
    """The grid moments of all the context's as_ofs."""
    return tuple(sorted({at for as_of in context.as_ofs for at in grid_of(as_of, context.settings)}))

"""Runs the batch graph: every job reads through `batch.io`, is checked, and only then takes its place."""

from __future__ import annotations

import fcntl
import importlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from rich.progress import Progress
from rich.table import Table

from batch.checks import Validation, check_partition, quarantine, refuse_emptied, warnings_of
from batch.constants import constants_version
from batch.graph import BY_NAME, Job, order
from batch.io import clear_leftovers, promote, read_derived, read_raw, stage, stage_judged
from batch.moments.arrow_file import remove_files
from batch.moments.lake_log import LOG, write_log
from batch.moments.lake_snapshot import write_snapshot
from batch.point_in_time import MomentFiles, RunContext
from batch.run_notes import note_run, read_archived
from batch.schedule import looking_back, not_written, outdated
from batch.session import session
from batch.settings import BatchSettings
from batch.snapshot_content import VALIDATED, partitions_at
from features.datasets import dataset
from features.errors import BadInput, InUse
from features.lake_files import data_files, raw_layer, unchanged
from features.lake_layout import dataset_folder, partition_name
from features.partitions import is_written
from lake.progress import bar
from rex.local.faults import first_line, refusal


@dataclass(frozen=True, slots=True)
class JobReport:
    """What one job did."""

    name: str
    seconds: float
    rows: dict[datetime, int]
    """Rows written per as_of; a validating job writes for the latest only."""
    validation: Validation | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RunReport:
    """What one run did, job by job in the order they ran."""

    as_ofs: tuple[datetime, ...]
    jobs: list[JobReport]

    def table(self) -> Table:
        """For a user at a terminal."""
        shown = Table(
            "job",
            "rows",
            "seconds",
            "notes",
            box=None,
            title=f"batch as of {', '.join(a.isoformat() for a in self.as_ofs)}",
        )
        for job in self.jobs:
            shown.add_row(job.name, f"{sum(job.rows.values()):,}", f"{job.seconds:.1f}", _notes(job))
        return shown


def run(
    lake: Path,
    as_ofs: Sequence[datetime],
    *,
    now: datetime,
    settings: BatchSettings,
    jobs: Sequence[str] | None = None,
    spark: SparkSession | None = None,
    progress: Progress | None = None,
    validated: datetime | None = None,
) -> RunReport:
    """Computes `jobs` (all by default) for every one of `as_ofs` in one pass.

    `validated`: a later as_of whose validated datasets are to be read; they see all that an earlier moment saw.
    BadInput for anything wrong with the lake, the as_ofs or the job names; InUse while another run writes to the lake. What had
    been written before stays. With
    `spark` None and no session in this process, one is made and stopped. `progress` gets one bar a job.
    """
    context = RunContext(checked_moments(as_ofs, now), now, settings, validated=validated)
    wanted = _wanted(jobs)
    with _only_run(lake), session(spark, settings) as used:
        archived = read_archived(lake)
        reports = [_run_job(job, lake, context, used, progress) for job in wanted]
    note_run(lake, context.as_ofs, {report.name: report.rows for report in reports}, archived)
    return RunReport(context.as_ofs, reports)


def _wanted(names: Sequence[str] | None) -> list[Job]:
    try:
        return order(names)
    except KeyError as error:
        raise BadInput(f"There is {error.args[0]}.") from None


def _run_job(job: Job, lake: Path, context: RunContext, spark: SparkSession, progress: Progress | None) -> JobReport:
    started = time.perf_counter()
    try:
        with bar(progress, job.name, 1):
            rows, validation, warnings = _written(job, lake, context, spark)
    except (PySparkException, Py4JJavaError) as error:
        during = f"job {job.name}"
        raise refusal(error, during) or RuntimeError(f"{during} failed in Spark: {first_line(error)}") from error
    finally:
        spark.catalog.clearCache()
        clear_leftovers(dataset_folder(lake, job.name))
    return JobReport(job.name, time.perf_counter() - started, rows, validation, warnings)


def _written(
    job: Job, lake: Path, context: RunContext, spark: SparkSession
) -> tuple[dict[datetime, int], Validation | None, list[str]]:
    """Rows per as_of, what was quarantined, warnings. Nothing is in place before everything has passed its checks."""
    target, validation = dataset(job.name), None
    context = with_moments(job, lake, context)
    bad: dict[str, list[Path]] = {}
    with unchanged(path for name in job.reads if name not in BY_NAME for path in data_files(lake / "raw" / name)):
        inputs = {name: _input(name, lake, context, spark) for name in job.reads if name not in job.looks_back}
        module, function = job.run.split(":")
        rows: DataFrame = getattr(importlib.import_module(module), function)(**inputs, context=context)
        if job.validates:
            good, bad = stage_judged(rows, lake, target, context.latest)
            staged = [good]
        else:
            staged = stage(rows, lake, target, context.as_ofs, constants_version(context.settings))
    if job.validates:
        validation = quarantine(staged[0].path, bad, lake, dataset(job.validates), context.latest)
    files = {partition.as_of: data_files(partition.path) for partition in staged}
    counts = {as_of: check_partition(target, paths) for as_of, paths in files.items()}
    refuse_emptied(target, staged)
    warnings = [warning for paths in files.values() for warning in warnings_of(target, paths)]
    warnings += [*not_written(job, context), *filter(None, (note(sum(counts.values())) for note in context.notes))]
    promote(staged)
    return counts, validation, [*warnings, *outdated(lake, job.name)]


def with_moments(job: Job, lake: Path, context: RunContext) -> RunContext:
    """The context of one job: with the moments of its schedule, if it looks back."""
    context = replace(looking_back(job, lake, context), notes=[])
    if not job.looks_back:
        return context
    snapshots = {}
    for at in context.schedule:
        validated = at if is_written(lake, VALIDATED, at) else context.latest
        snapshots[at] = write_snapshot(lake, at, partitions_at(at, validated=validated, fitted=context.fits[at]))
    files = MomentFiles(snapshots, write_log(lake, context.latest))
    oldest, log = partition_name(min(context.schedule, default=context.latest)), files.log.name
    remove_files(lake, unless=lambda name: name == log if name.startswith(LOG) else name >= oldest)
    return replace(context, moments=files)


def _input(name: str, lake: Path, context: RunContext, spark: SparkSession) -> DataFrame:
    """A raw dataset; a validated one, which serves all as_ofs; or a derived one, with `as_of`."""
    if name not in BY_NAME:
        return read_raw(spark, lake, dataset(name))
    if BY_NAME[name].validates:
        return read_derived(spark, lake, dataset(name), (context.latest,)).drop("as_of")
    return read_derived(spark, lake, dataset(name), context.as_ofs, constants_version(context.settings))


@contextmanager
def _only_run(lake: Path) -> Iterator[None]:
    """Keeps a second run off the same lake. The kernel lets go of the lock when this process ends, however it ends."""
    raw_layer(lake)
    runs = dataset_folder(lake, "_runs")
    runs.mkdir(parents=True, exist_ok=True)
    with (runs / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(f"Another batch is running on the lake at {lake}; wait until it has finished.") from None
        yield


def _notes(job: JobReport) -> str:
    notes = list(job.warnings)
    if job.validation is not None:
        notes += [f"{n:,} {reason}" for reason, n in job.validation.quarantined.items()]
        notes += [f"{job.validation.repeated:,} repeated"] if job.validation.repeated else []
    return ", ".join(notes)


def checked_moments(as_ofs: Sequence[datetime], now: datetime) -> tuple[datetime, ...]:
    """`as_ofs` in UTC, ascending, each once. BadInput when there is none, or one has no zone, fractions of a second, or is after `now`."""
    if not as_ofs:
        raise BadInput("No as_of was given; give at least one.")
    for as_of in as_ofs:
        if as_of.tzinfo is None:
            raise BadInput(f"The as_of {as_of} has no time zone; write for example {as_of.isoformat()}Z.")
        if as_of.microsecond:
            raise BadInput(f"The as_of {as_of.isoformat()} is not a whole second; leave out the fraction.")
        if as_of > now:
            raise BadInput(
                f"The as_of {as_of.isoformat()} is after now ({now.isoformat()}); nobody knows yet what it will see."
            )
    return tuple(sorted({as_of.astimezone(UTC) for as_of in as_ofs}))

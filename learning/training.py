"""Trains a lake's next model: features of the past that are missing, examples, models, verdict, release."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import SparkSession
from rich.progress import Progress

from batch.backfill import EXAMPLES, backfill
from batch.run import RunReport, run, session
from batch.settings import BatchSettings
from features.duckdb_views import PARTITION_FORMAT
from features.errors import BadInput
from learning.fit import Clock
from learning.lake_examples import LakeExamples, read_lake_examples
from learning.released import Release, models_of, release
from learning.settings import LearningSettings
from learning.train import Judged, Trained, train


@dataclass(frozen=True, slots=True)
class TrainedOnLake:
    """What came out, and what each part cost."""

    trained: Trained
    release: Release
    reports: list[RunReport]


def train_on_lake(
    lake: Path,
    as_of: datetime,
    clock: Clock,
    *,
    now: datetime,
    batch: BatchSettings,
    learning: LearningSettings,
    force: bool = False,
    progress: Progress | None = None,
    judged: Callable[[Judged], None] = lambda judged: None,
) -> TrainedOnLake:
    """Releases a model of all that the lake knows at `as_of`.

    BadInput (Refused, when it does not surely beat the baselines and is not forced) leaves the earlier release in place.
    """
    with session(None, batch) as spark:
        reports = make_examples(lake, as_of, spark, now=now, settings=batch, progress=progress)
    with _shown(progress, "read examples"):
        learned_from = read_lake_examples(lake, as_of)
    with _shown(progress, "fit and judge models"):
        trained = _trained(lake, learned_from, clock, learning, force, judged)
    noted = release(lake, trained.data, as_of=as_of, now=now, shortfalls=tuple(trained.shortfalls))
    return TrainedOnLake(trained, noted, reports)


def make_examples(
    lake: Path,
    as_of: datetime,
    spark: SparkSession,
    *,
    now: datetime,
    settings: BatchSettings,
    progress: Progress | None = None,
) -> list[RunReport]:
    """Writes `training_examples` of `as_of`, and before that the features of earlier moments that are missing."""
    reports = backfill(lake, as_of, now=now, settings=settings, spark=spark, progress=progress)
    made = run(lake, [as_of], now=now, settings=settings, jobs=[EXAMPLES], spark=spark, progress=progress)
    return [*reports, made]


def latest_batch(lake: Path) -> datetime:
    """The latest moment at which the lake's events were validated. BadInput when there is none."""
    names = (path.name.removeprefix("as_of=") for path in (lake / "features" / "valid_events").glob("as_of=*"))
    moments = [datetime.strptime(name, PARTITION_FORMAT).replace(tzinfo=UTC) for name in names]
    if not moments:
        raise BadInput(f"no batch has run on the lake at {lake}; run `rex batch` first, or name a moment with --as-of.")
    return max(moments)


def _trained(
    lake: Path,
    given: LakeExamples,
    clock: Clock,
    settings: LearningSettings,
    force: bool,
    judged: Callable[[Judged], None],
) -> Trained:
    return train(
        given.examples,
        clock,
        models_of(lake),
        sampling=given.sampling,
        force=force,
        budget_s=settings.fit_budget_s,
        judged=judged,
    )


@contextmanager
def _shown(progress: Progress | None, what: str) -> Iterator[None]:
    """A bar that tells what is being done, and how long it has taken."""
    task = None if progress is None else progress.add_task(what, total=None)
    yield
    if progress is not None and task is not None:
        progress.update(task, total=1, completed=1)

"""Trains a lake's next model: features of the past that are missing, examples, models, verdict, release."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.progress import Progress

from batch.backfill import EXAMPLES, backfill
from batch.run import RunReport, run, session
from batch.settings import BatchSettings
from features.duckdb_views import PARTITION_FORMAT
from features.errors import BadInput
from features.undated import refuse_undated
from learning.fit import Clock
from learning.lake_examples import read_lake_examples
from learning.released import Release, last_release, models_of, release
from learning.settings import LearningSettings
from learning.train import Judged, Trained, train


@dataclass(frozen=True, slots=True)
class TrainedOnLake:
    """What came out, and what the batch's part of it cost."""

    trained: Trained
    release: Release
    reports: list[RunReport]


def train_on_lake(
    lake: Path,
    as_of: datetime,
    clock: Clock,
    *,
    now: datetime,
    batch: BatchSettings | None,
    learning: LearningSettings,
    force: bool = False,
    progress: Progress | None = None,
    judged: Callable[[Judged], None] = lambda judged: None,
) -> TrainedOnLake:
    """Makes the examples of `as_of`, and whatever they lack, and learns from them; see `learn`.

    `batch` None: it learns from the examples that an earlier run made. BadInput for a lake without dates.
    """
    refuse_undated(
        lake,
        "no model can be trained on it yet, because training holds out the last days. Without one, `rex publish` serves it "
        "with the ranker of named weights.",
    )
    reports = [] if batch is None else make_examples(lake, as_of, now=now, settings=batch, progress=progress)
    trained, note = learn(lake, as_of, clock, now=now, settings=learning, force=force, progress=progress, judged=judged)
    return TrainedOnLake(trained, note, reports)


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

    `daily`: and all that a daily run makes.
    """
    with session(None, settings) as spark:
        reports = backfill(lake, as_of, now=now, settings=settings, spark=spark, progress=progress, daily=daily)
        made = run(lake, [as_of], now=now, settings=settings, jobs=[EXAMPLES], spark=spark, progress=progress)
    return [*reports, made]


def learn(
    lake: Path,
    as_of: datetime,
    clock: Clock,
    *,
    now: datetime,
    settings: LearningSettings,
    force: bool = False,
    progress: Progress | None = None,
    judged: Callable[[Judged], None] = lambda judged: None,
) -> tuple[Trained, Release]:
    """Releases a model of the examples that were made at `as_of`.

    BadInput (Refused, when it does not surely beat the baselines and is not forced) leaves the earlier release in place.
    """
    with _shown(progress, "read examples"):
        given = read_lake_examples(lake, as_of)
    with _shown(progress, "fit and judge models"):
        trained = train(
            given.examples,
            clock,
            models_of(lake),
            sampling=given.sampling,
            force=force,
            budget_s=settings.fit_budget_s,
            judged=judged,
        )
    return trained, release(lake, trained.data, as_of=as_of, now=now, shortfalls=tuple(trained.shortfalls))


def is_due(lake: Path, as_of: datetime, settings: LearningSettings) -> bool:
    """Whether the released model is older than its cadence at `as_of`, or there is none."""
    last = last_release(lake)
    return last is None or last.age_s(as_of) >= settings.cadence_d * 86_400


def latest_batch(lake: Path) -> datetime:
    """The latest moment at which the lake's events were validated. BadInput when there is none."""
    names = (path.name.removeprefix("as_of=") for path in (lake / "features" / "valid_events").glob("as_of=*"))
    moments = [datetime.strptime(name, PARTITION_FORMAT).replace(tzinfo=UTC) for name in names]
    if not moments:
        raise BadInput(f"no batch has run on the lake at {lake}; run `rex batch` first, or name a moment with --as-of.")
    return max(moments)


@contextmanager
def _shown(progress: Progress | None, what: str) -> Iterator[None]:
    """A bar that tells what is being done, and how long it has taken."""
    task = None if progress is None else progress.add_task(what, total=None)
    yield
    if progress is not None and task is not None:
        progress.update(task, total=1, completed=1)

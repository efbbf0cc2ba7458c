"""A lake's next model: from the examples that the batch made to models, verdict and release."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from rich.progress import Progress

from features.errors import BadInput
from features.lake_layout import written
from lake.models import Release, last_release, models_of, release
from learning.fit import Stopwatch
from learning.lake_examples import read_lake_examples
from learning.settings import LearningSettings
from learning.train import EvaluatedModel, Trained, train


def learn(
    lake: Path,
    as_of: datetime,
    clock: Stopwatch,
    *,
    now: datetime,
    settings: LearningSettings,
    force: bool = False,
    progress: Progress | None = None,
    evaluated: Callable[[EvaluatedModel], None] = lambda evaluated: None,
) -> tuple[Trained, Release]:
    """Releases a model of the examples that were made at `as_of`.

    BadInput (ModelRefused, when it does not surely beat the baselines and is not forced) leaves the earlier release in place.
    """
    with _shown(progress, "read examples"):
        given = read_lake_examples(lake, as_of)
    with _shown(progress, "fit and evaluate models"):
        trained = train(
            given.examples,
            clock,
            models_of(lake),
            sampling=given.sampling,
            force=force,
            budget_s=settings.fit_budget_s,
            evaluated=evaluated,
        )
    return trained, release(lake, trained.data, as_of=as_of, now=now, shortfalls=tuple(trained.shortfalls))


def is_due(lake: Path, as_of: datetime, settings: LearningSettings) -> bool:
    """Whether the released model is older than its cadence at `as_of`, or there is none."""
    last = last_release(lake)
    return last is None or last.age_s(as_of) >= settings.cadence_d * 86_400


def latest_batch(lake: Path) -> datetime:
    """The latest moment at which the lake's events were validated. BadInput when there is none."""
    moments = written(lake, "valid_events")
    if not moments:
        raise BadInput(f"no batch has run on the lake at {lake}; run `rex batch` first, or name a moment with --as-of.")
    return moments[-1]


@contextmanager
def _shown(progress: Progress | None, what: str) -> Iterator[None]:
    """A bar that tells what is being done, and how long it has taken."""
    task = None if progress is None else progress.add_task(what, total=None)
    yield
    if progress is not None and task is not None:
        progress.update(task, total=1, completed=1)

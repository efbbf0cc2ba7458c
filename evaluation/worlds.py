"""The worlds in which the tasks of a split are ranked: lakes of what may be known, run through the project's own batch."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.progress import Progress

from batch.session import session
from batch.settings import BatchSettings
from batch.tuning.tune import tune
from batch.tuning.tuned import Tuned, settings_of, write_tuned
from evaluation.offline_world import OfflineWorld
from evaluation.reading_log import Log
from evaluation.task import Split, Task
from evaluation.training_lake import Moments, as_of, make_training_lake, moments, run_batch, world_of

TUNING_S = 60.0
"""Time for choosing the batch's constants, as much as each baseline has for its own."""


@dataclass(frozen=True, slots=True)
class _Place:
    lake: Path
    moments: Moments


class Worlds:
    """Made once for a split, and shared by all systems that rank in them."""

    def __init__(
        self,
        lake: Path,
        work: Path,
        *,
        now: datetime,
        batch: BatchSettings | None = None,
        tuning_s: float = TUNING_S,
        progress: Progress | None = None,
    ) -> None:
        """Reads the raw lake `lake`; writes only to the directory `work`, which is made anew. `now`: for the batch.

        `batch` None: its constants are chosen on what the first task knows.
        """
        self._lake, self._work, self._now = lake, work, now
        self._batch, self._tuning_s, self._progress = batch, tuning_s, progress
        self._split: Split | None = None
        self._places: dict[int, _Place] = {}

    def prepare(self, log: Log, split: Split) -> str:
        """Chooses constants and runs the batch, for teaching and for testing; returns what was chosen, in a few words."""
        if self._split is not split:
            shutil.rmtree(self._work, ignore_errors=True)
            self._split, self._places = split, {}
            with session(None, self._batch or BatchSettings()):
                self._make(log, split)
        tested = self._places[id(split.tasks[0])]
        chosen = settings_of(tested.lake)
        return f"{len(tested.moments.as_ofs)} snapshots, {len(tested.moments.fits)} fits" + _formatted(
            chosen, self._batch
        )

    def of(self, task: Task) -> OfflineWorld:
        """The snapshot of a task of the split that was prepared."""
        place = self._places[id(task)]
        return world_of(place.lake, place.moments, task.at_us)

    def _make(self, log: Log, split: Split) -> None:
        if split.by_time:
            self._add(log, split, "lake", (*split.teaching, *split.tasks), None)
            return
        tuned = self._add(log, split, "tested", split.tasks, None)
        if split.teaching:
            self._add(log, split, "teaching", split.teaching, tuned)

    def _add(self, log: Log, split: Split, name: str, tasks: tuple[Task, ...], tuned: Tuned | None) -> Tuned | None:
        """One lake and its batch. Constants: `tuned`, or those that suit what the first task of the test knows."""
        lake, when = self._work / name, moments(tasks)
        make_training_lake(self._lake, lake, log, split.by_time, tasks[0])
        if self._batch is None and tuned is None:
            tuned = self._tune(lake, as_of(split.tasks[0].at_us))
        elif tuned is not None:
            write_tuned(lake, tuned)
        run_batch(lake, when, self._now, self._batch or settings_of(lake), self._progress)
        self._places |= {id(task): _Place(lake, when) for task in tasks}
        return tuned

    def _tune(self, lake: Path, moment: datetime) -> Tuned:
        return tune(
            lake,
            moment,
            time.monotonic,
            now=self._now,
            settings=BatchSettings(),
            budget_s=self._tuning_s,
            progress=self._progress,
        )


def _formatted(chosen: BatchSettings, given: BatchSettings | None) -> str:
    if given is not None:
        return ""
    return (
        f", {chosen.als_rank} factors (λ {chosen.als_regularisation:g}, α {chosen.als_alpha:g}), "
        f"half-lives {chosen.trending_half_life_h:g} h and {chosen.story_half_life_d:g} d"
    )

"""The snapshots on which the tasks of a split are ranked: lakes of what may be known, run through the project's own batch."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from rich.progress import Progress

from batch.graph import closure
from batch.moments.lake_snapshot import LakeSnapshot, open_snapshot, write_snapshot
from batch.run import run
from batch.schedule import REFITTED, latest_fit
from batch.session import session
from batch.settings import BatchSettings
from batch.snapshot_content import READS, partitions_at
from batch.tuning.tune import tune
from batch.tuning.tuned import Tuned, settings_of, write_tuned
from evaluation.reading_log import Log
from evaluation.task import Split, Task
from features.duckdb_views import connect
from lake.writer import write_events

TUNING_S = 60.0
"""Time for choosing the batch's constants, as much as each baseline has for its own."""
REFIT_D = 7
"""Days between two fits of what is refitted at a cadence; all else is computed for every moment."""
SECOND_US = 1_000_000

_KEPT = """
SELECT * EXCLUDE (dt) FROM events LEFT JOIN hidden USING (user_id, story_id)
WHERE hidden.user_id IS NULL ORDER BY occurred_at, user_id, story_id, type
"""


@dataclass(frozen=True, slots=True)
class _Place:
    lake: Path
    moments: Moments


class SplitSnapshots:
    """Made once for a split, and shared by all systems that rank on them."""

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
        """Reads the raw lake `lake`; writes only to the directory `work`, which is emptied first. `now`: for the batch.

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

    def of(self, task: Task) -> LakeSnapshot:
        """The snapshot of a task of the split that was prepared."""
        place, moment = self._places[id(task)], as_of(task.at_us)
        partitions = partitions_at(moment, validated=place.moments.as_ofs[-1], fitted=place.moments.fitted(moment))
        return open_snapshot(write_snapshot(place.lake, moment, partitions))

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
        make_known_lake(self._lake, lake, log, split.by_time, tasks[0])
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


@dataclass(frozen=True, slots=True)
class Moments:
    """The as_ofs of one split's tasks, and of the fits they use."""

    as_ofs: tuple[datetime, ...]
    fits: tuple[datetime, ...]
    """A subset of as_ofs, with the first and the latest, ascending."""

    def fitted(self, as_of: datetime) -> datetime:
        """The latest fit not after `as_of`."""
        fit = latest_fit(self.fits, as_of)
        assert fit is not None, "the first as_of has a fit"
        return fit


def as_of(at_us: int) -> datetime:
    """The last whole second before a moment: nothing that happens at it is known."""
    return datetime.fromtimestamp((at_us - 1) // SECOND_US, UTC)


def moments(tasks: Iterable[Task]) -> Moments:
    """Fits are REFIT_D or more apart, counted back from the latest moment, at which what is validated is written."""
    as_ofs = tuple(sorted({as_of(task.at_us) for task in tasks}))
    fits = [as_ofs[-1]]
    for moment in reversed(as_ofs[:-1]):
        if fits[-1] - moment >= timedelta(days=REFIT_D):
            fits.append(moment)
    return Moments(as_ofs, tuple(sorted({as_ofs[0], *fits})))


def make_known_lake(lake: Path, work: Path, log: Log, by_time: bool, task: Task) -> None:
    """`work` becomes a raw lake of what `task` may know.

    Split by time it has all of it, because the batch looks back from each as_of by itself; split at random, no event at all
    of a (user, story) that is hidden.
    """
    if by_time:
        work.mkdir(parents=True)
        (work / "raw").symlink_to((lake / "raw").absolute(), target_is_directory=True)
        return
    for entry in sorted((lake / "raw").iterdir()):
        if entry.is_dir() and entry.name not in ("events", "served"):
            shutil.copytree(entry, work / "raw" / entry.name)
    with connect(lake) as db:
        db.register("hidden", _hidden(log, task))
        write_events(work, db, _KEPT)


def _hidden(log: Log, task: Task) -> pa.Table:
    """user_id, story_id of the interactions that the task does not know, each pair once."""
    rows = log.first & ~task.known
    return pa.table({"user_id": log.user_ids.take(log.user[rows]), "story_id": log.story_ids.take(log.story[rows])})


def run_batch(work: Path, when: Moments, now: datetime, settings: BatchSettings, progress: Progress | None) -> None:
    """Everything a snapshot is made of: REFITTED at the fits, the rest at every as_of, each in one pass."""
    needed = {job.name for name in READS for job in closure(name)}
    for jobs, as_ofs in ((needed - set(REFITTED), when.as_ofs), (REFITTED, when.fits)):
        run(work, as_ofs, now=now, settings=settings, jobs=sorted(jobs), progress=progress)

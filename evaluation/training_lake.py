"""The lake that Rex learns from in a protocol, and the batch's runs on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from rich.progress import Progress

from batch.graph import closure
from batch.run import run
from batch.schedule import REFITTED, latest_fit
from batch.settings import BatchSettings
from batch.snapshot_content import READS
from evaluation.offline_world import OfflineWorld, load_of_many
from evaluation.protocols.task import Task
from evaluation.reading_log import Log
from features.duckdb_views import connect
from lake.writer import write_events

REFIT_D = 7
"""Days between two fits of what is refitted at a cadence; all else is computed for every moment."""
SECOND_US = 1_000_000

_KEPT = """
SELECT * EXCLUDE (dt) FROM events LEFT JOIN hidden USING (user_id, story_id)
WHERE hidden.user_id IS NULL ORDER BY occurred_at, user_id, story_id, type
"""


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


def make_training_lake(lake: Path, work: Path, log: Log, by_time: bool, task: Task) -> None:
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
    """user_id, story_id of the acts that the task does not know, each pair once."""
    rows = log.first & ~task.known
    return pa.table({"user_id": log.user_ids.take(log.user[rows]), "story_id": log.story_ids.take(log.story[rows])})


def run_batch(work: Path, when: Moments, now: datetime, settings: BatchSettings, progress: Progress | None) -> None:
    """Everything a snapshot is made of: REFITTED at the fits, the rest at every as_of, each in one pass."""
    needed = {job.name for name in READS for job in closure(name)}
    for jobs, as_ofs in ((needed - set(REFITTED), when.as_ofs), (REFITTED, when.fits)):
        run(work, as_ofs, now=now, settings=settings, jobs=sorted(jobs), progress=progress)


def world_of(work: Path, when: Moments, at_us: int) -> OfflineWorld:
    """The world in which a task is ranked."""
    moment = as_of(at_us)
    return load_of_many(work, moment, when.as_ofs[-1], when.fitted(moment))

"""Rex itself: its batch on what is known, its pipeline on the snapshot that follows, its ranking as it would be served."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
from rich.progress import Progress

from batch.settings import BatchSettings
from evaluation.offline_world import OfflineWorld
from evaluation.protocols.task import Split, Task
from evaluation.reading_log import Floats, Ints, Log
from evaluation.systems.system import LAST
from evaluation.training_lake import Moments, make_training_lake, moments, run_batch, world_of
from features.errors import Unavailable
from features.keys import hash64_many
from online.columns import Candidates
from online.components import Components, default_components
from online.context import Context
from online.pipeline import SPARE, Pipeline
from online.protocols import Ranker
from online.rankers.weighted import Weighted
from online.selection import best
from online.settings import OnlineSettings

EVERY_AGE_D = 36_500.0
"""Protocols ask for every story that is out, so none is too old and all are fresh enough to be candidates."""


class Rex:
    """The pipeline's stages aggregate, preprocess, annotate and rank, with any ranker."""

    def __init__(
        self,
        lake: Path,
        work: Path,
        *,
        now: datetime,
        ranker: Ranker | None = None,
        name: str = "rex",
        batch: BatchSettings | None = None,
        online: OnlineSettings | None = None,
        prepared: Rex | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Reads the raw lake `lake`; writes only to the directory `work`, made anew in `prepare`. `now`: for the batch.

        `prepared`: another that is prepared for the same split before this one, whose snapshots are used, too.
        """
        self.name = name
        self._lake, self._work, self._now = lake, work, now
        self._batch, self._progress = batch or BatchSettings(), progress
        every = {"max_age_d": EVERY_AGE_D, "fresh_window_d": EVERY_AGE_D, "explore_share": 0}
        self._online = OnlineSettings(**{**(online or OnlineSettings()).model_dump(), **every})
        self._ranker = ranker or Weighted()  # a model must not come from a lake that holds what is asked for
        self._components: Components = default_components(self._ranker)
        self._pipeline = Pipeline(self._components, lambda ctx, slate: None)
        self._prepared = prepared
        self._moments: Moments

    def prepare(self, log: Log, split: Split) -> str:
        """Runs the batch for every task at once. Whatever the batch raises."""
        self._moments = moments(split)
        if self._prepared is not None:
            return f"ranker {self._ranker.name}"
        shutil.rmtree(self._work, ignore_errors=True)
        make_training_lake(self._lake, self._work, log, split)
        run_batch(self._work, self._moments, self._now, self._batch, self._progress)
        return f"{len(self._moments.as_ofs)} snapshots, {len(self._moments.fits)} fits, ranker {self._ranker.name}"

    def fit(self, log: Log, task: Task) -> None:
        """Loads the snapshot of the task's moment."""
        self._task, self._log = task, log
        self._offline: OfflineWorld = world_of(self._work, self._moments, task.at_us)
        hashes = hash64_many(log.story_ids.to_pylist())  # ascending, which is the log's order
        self._story = np.searchsorted(hashes, self._offline.world.hashes).astype(np.int32)

    def scores(self, users: Ints) -> Floats:
        """float32[users, n]: the place in the pipeline's order, counted from its end."""
        out = np.full((len(users), self._log.stories), LAST, np.float32)
        for row, user in enumerate(users):
            user_id = self._log.user_ids[int(user)].as_py()
            ctx = self._offline.context(user_id, self._task.at_us, self._online, self._components)
            ordered = self._ranked(ctx)
            out[row, self._story[ordered]] = np.arange(len(ordered), 0, -1, dtype=np.float32)
        return out

    def _ranked(self, ctx: Context) -> Ints:
        """Rows of the world, best first: what the pipeline keeps; where pools are judged, all, ranked in as many blocks."""
        pipeline = self._pipeline
        candidates = pipeline.annotate(ctx, pipeline.preprocess(ctx, pipeline.aggregate(ctx)))
        size = len(candidates) if self._task.pools is None else SPARE * self._online.slate_size
        blocks = [
            pipeline.rank(ctx, candidates.take(np.arange(start, min(start + size, len(candidates)))))
            for start in range(0, len(candidates), max(size, 1))
        ]
        if ctx.trace.degraded:
            raise Unavailable(
                f"The ranking for {ctx.user_id} lacks {', '.join(ctx.trace.degraded)}; see the log above."
            )
        return _in_order(ctx, blocks)


def _in_order(ctx: Context, blocks: list[Candidates]) -> Ints:
    if not blocks:
        return np.empty(0, np.int32)
    rows = np.concatenate([block.rows for block in blocks])
    score = np.concatenate([block.columns["score"] for block in blocks])
    return rows[best(score, rows, len(rows), ctx.world.published_at)]

"""Rex itself: its batch on what is known, its pipeline on the snapshot that follows, its ranking as it would be served."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

import numpy as np

from batch.moments.lake_snapshot import LakeSnapshot
from evaluation.ranking import LAST
from evaluation.reading_log import Log
from evaluation.sampled_examples import Sample, examples_by, sample
from evaluation.split_snapshots import REFIT_D, SplitSnapshots, as_of
from evaluation.task import Split, Task
from features.arrays import F32, I32
from features.errors import BadInput
from features.keys import hash64_many
from features.times import DAY_US
from learning.examples import FEATURE_NAMES, cut
from learning.fit import fit
from online.columns import Candidates
from online.components import default_components
from online.context import Context
from online.pipeline import SPARE, Pipeline
from online.rankers.learned import ranker_for
from online.rankers.protocol import Ranker
from online.rankers.weighted import Weight, Weighted
from online.selection import best
from online.settings import RankingSettings

warnings = logging.getLogger("rex.evaluation")

EVERY_AGE_D = 36_500.0
"""Protocols ask for every story that is out, so none is too old and all are fresh enough to be candidates."""
ALL_FEATURES = Weighted(tuple(Weight(name, 0.0, "only to be computed") for name in FEATURE_NAMES), "all features")
FIT_S = 20.0
"""Time for choosing the size of the models at each refit, over all outcomes."""


def of_every_age(settings: RankingSettings) -> RankingSettings:
    """For evaluation: strict, with stories however old, and nothing drawn at random."""
    return replace(
        settings,
        aggregate=replace(settings.aggregate, fresh_window_d=EVERY_AGE_D),
        preprocess=replace(settings.preprocess, max_age_d=EVERY_AGE_D),
        postprocess=replace(settings.postprocess, explore_share=0.0),
        strict=True,
    )


class Rex:
    """The pipeline's stages aggregate, preprocess, annotate and rank: by models learned from what each task knows, or by `ranker`."""

    def __init__(
        self,
        snapshots: SplitSnapshots,
        *,
        ranker: Ranker | None = None,
        name: str = "rex",
        online: RankingSettings | None = None,
        fit_s: float = FIT_S,
    ) -> None:
        """`snapshots` may be shared with other systems."""
        self.name = name
        self._snapshots, self._given, self._fit_s = snapshots, ranker, fit_s
        self._online = of_every_age(online or RankingSettings())

    def prepare(self, log: Log, split: Split) -> str:
        """Runs the batch for every task at once, and gathers what can be learned before the first. Whatever the batch raises."""
        self._split, self._ranker, self._learned_at = split, self._given or Weighted(), -np.inf
        self._samples: list[Sample] = []
        self._pipelines: dict[Ranker, Pipeline] = {}
        chosen = self._snapshots.prepare(log, split)
        if self._given is not None:
            return f"{chosen}, ranker {self._given.name}"
        for task in split.teaching:
            self._enter(log, task)
            self._samples.append(self._sample())
        return f"{chosen}, models of {sum(len(one.user) for one in self._samples):,} examples at first"

    def fit(self, log: Log, task: Task) -> None:
        """Loads the snapshot of the task's moment; learns again when the models are REFIT_D old."""
        self._enter(log, task)
        if self._given is not None:
            return
        if task.at_us - self._learned_at >= REFIT_D * DAY_US:
            self._learn()
        if self._split.by_time:
            self._samples.append(self._sample())

    def scores(self, users: I32) -> F32:
        """float32[users, n]: the place in the pipeline's order, counted from its end."""
        out = np.full((len(users), self._log.stories), LAST, np.float32)
        for row, user in enumerate(users):
            ordered = self._ranked(*self._context(int(user), self._ranker))
            out[row, self._story[ordered]] = np.arange(len(ordered), 0, -1, dtype=np.float32)
        return out

    def _enter(self, log: Log, task: Task) -> None:
        self._task, self._log = task, log
        self._offline: LakeSnapshot = self._snapshots.of(task)
        hashes = hash64_many(log.story_ids.to_pylist())  # ascending, which is the log's order
        self._story = np.searchsorted(hashes, self._offline.story_table.hashes).astype(np.int32)

    def _learn(self) -> None:
        """Too little to learn from leaves the ranking as it is (at first, the named weights), and the log says so."""
        try:
            examples = examples_by(self._log, self._split, self._samples, self._task)
            slices = cut(examples, evaluated=False)
        except BadInput as error:
            warnings.warning(
                "%s learns nothing at %s and goes on with %s: %s", self.name, self._moment, self._ranker.name, error
            )
            return
        model = fit(examples, slices, time.monotonic, budget_s=self._fit_s)
        self._ranker, self._learned_at = ranker_for(self._online, model, "of this moment"), self._task.at_us

    @property
    def _moment(self) -> str:
        return as_of(self._task.at_us).isoformat()

    def _sample(self) -> Sample:
        return sample(self._log, self._task, self._annotated)

    def _annotated(self, user: int) -> tuple[Candidates, I32]:
        candidates = self._candidates(*self._context(user, ALL_FEATURES))
        return candidates, self._story[candidates.rows]

    def _context(self, user: int, ranker: Ranker) -> tuple[Context, Pipeline]:
        """A request of theirs; the pipeline is made once for each ranker."""
        if ranker not in self._pipelines:
            self._pipelines[ranker] = Pipeline(default_components(ranker), lambda ctx, slate: None)
        pipeline, user_id = self._pipelines[ranker], self._log.user_ids[user].as_py()
        return self._offline.context(user_id, self._task.at_us, self._online, pipeline.components), pipeline

    def _candidates(self, ctx: Context, pipeline: Pipeline) -> Candidates:
        return pipeline.annotate(ctx, pipeline.preprocess(ctx, pipeline.aggregate(ctx)))

    def _ranked(self, ctx: Context, pipeline: Pipeline) -> I32:
        """Rows of the story table, best first: what the pipeline keeps; where pools are evaluated, all, ranked in as many blocks."""
        candidates = self._candidates(ctx, pipeline)
        size = len(candidates) if self._task.pools is None else SPARE * self._online.cache.slate_size
        blocks = [
            pipeline.rank(ctx, candidates.take(np.arange(start, min(start + size, len(candidates)))))
            for start in range(0, len(candidates), max(size, 1))
        ]
        return _in_order(ctx, blocks)


def _in_order(ctx: Context, blocks: list[Candidates]) -> I32:
    if not blocks:
        return np.empty(0, np.int32)
    rows = np.concatenate([block.rows for block in blocks])
    score = np.concatenate([block.columns["score"] for block in blocks])
    return rows[best(score, rows, len(rows), ctx.story_table.published_at)]

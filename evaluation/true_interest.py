"""Rankings of a simulated world evaluated by what users truly want: at the world's end, of everything a rule admits.

The gain of a story is its true interest, so that a perfect order has an NDCG of 1. Rex learns as `rex train` does, from
logged impressions; baselines learn from everything that was read.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from rich.progress import Progress
from rich.table import Table

from batch.backfill import make_examples
from batch.moments.lake_snapshot import LakeSnapshot, load
from batch.settings import BatchSettings
from evaluation.protocols import PROTOCOLS
from evaluation.ranking import System
from evaluation.reading_log import Log
from evaluation.report import Row, cell, row
from evaluation.systems.rex import ALL_FEATURES, of_every_age
from evaluation.task import SEED, Task
from features.arrays import F32, F64, I32
from features.interactions import OUTCOMES
from features.keys import hash64_many
from features.ranking_metrics import TOP, Estimate, mean, ndcg, ratio, resamples
from features.times import micros
from lake.progress import bar
from lake.simulator.world import World, load_world
from learning.settings import LearningSettings
from learning.train import train_and_release
from online.columns import Candidates
from online.components import default_components
from online.pipeline import Pipeline
from online.rankers.learned import ranker_for
from online.rankers.weighted import Weighted
from online.settings import RankingSettings, RankSettings

PROTOCOL = "true-interest"
USERS = 400
"""Users evaluated, of those who were there before the last day: the mean's standard error is about half a point."""
NEWCOMERS = 200
"""Users evaluated who joined on the last day, at most."""
HAND, REX = "rex, weighted-1", "rex"
OPENINGS = {one.name: float(one.name == "open") for one in OUTCOMES}
"""Worth of outcomes for one variant: true interest is the chance of an opening, and what else may come of it follows other laws."""
SEGMENTS = ("all", "stories of the last day", "users of the last day")


@dataclass(frozen=True, slots=True)
class ByTruth:
    """What was found, per system and segment."""

    data: str
    values: Mapping[str, Mapping[str, F64]]
    """Segment → system → float64[users], NDCG@10; the same users in the same order for all systems."""

    def estimate(self, segment: str, system: str) -> Estimate:
        """The mean, users resampled."""
        values = self.values[segment][system]
        return mean(values, np.arange(len(values)), resamples(len(values), np.random.default_rng(SEED)))

    def gap_closed(self, segment: str, system: str) -> Estimate:
        """Of the way from the hand-weighted ranking to the perfect one."""
        own, hand = self.values[segment][system], self.values[segment][HAND]
        return ratio(own - hand, 1 - hand, resamples(len(own), np.random.default_rng(SEED)))

    def rows(self) -> list[Row]:
        """In the form of all rows of an evaluation."""
        return [
            row(self.data, PROTOCOL, system, f"{metric} of {segment}", one)
            for segment, of in self.values.items()
            for system in of
            for metric, one in (
                (f"ndcg@{TOP}", self.estimate(segment, system)),
                ("gap closed", self.gap_closed(segment, system)),
            )
        ]

    def table(self) -> Table:
        """For a user at a terminal."""
        sizes = ", ".join(f"{segment}: {len(self.values[segment][REX]):,} users" for segment in self.values)
        table = Table("system", title=f"{self.data}, NDCG@{TOP} by true interest ({sizes})", box=None)
        for segment in self.values:
            table.add_column(f"{segment}\nndcg@{TOP}")
            table.add_column("gap closed")
        for system in self.values[SEGMENTS[0]]:
            cells = []
            for segment in self.values:
                cells += [cell(self.estimate(segment, system), "+"), cell(self.gap_closed(segment, system), "+")]
            table.add_row(system, *cells)
        return table


def evaluate_by_truth(
    lake: Path,
    work: Path,
    log: Log,
    *,
    now: datetime,
    data: str,
    baselines: Sequence[System] = (),
    progress: Progress | None = None,
) -> ByTruth:
    """Ranks at the world's end. `work`: an empty directory to compute in. BadInput for a lake that was not simulated."""
    truth = load_world(lake)
    end = truth.truth.config.ends_at.astimezone(UTC)
    offline = _learned(lake, work, end, now, progress)
    evaluator = _Evaluator(truth, end, offline, log, _of_baselines(log, micros(end), baselines))
    users = _users(truth, end)
    with bar(progress, PROTOCOL, sum(map(len, users.values()))) as advance:
        for group, user_ids in users.items():
            for user_id in user_ids:
                evaluator.evaluate(user_id, group)
                advance()
    return ByTruth(data, {s: {name: np.array(v) for name, v in of.items()} for s, of in evaluator.found.items() if of})


def _learned(lake: Path, work: Path, end: datetime, now: datetime, progress: Progress | None) -> LakeSnapshot:
    """The snapshot of the world's end with a model, made as daily runs and `rex train` make them."""
    (work / "raw").symlink_to((lake / "raw").absolute(), target_is_directory=True)
    make_examples(work, end, now=now, settings=BatchSettings(), progress=progress, daily=True)
    train_and_release(work, end, time.monotonic, now=now, settings=LearningSettings(), force=True, progress=progress)
    return load(work, end)


def _users(truth: World, end: datetime) -> dict[str, list[str]]:
    """Segment of users → who is evaluated, drawn with a fixed seed."""
    created = truth.truth.users.created_us
    late = created >= micros(end - timedelta(days=1))
    rng = np.random.default_rng(SEED)
    groups = {SEGMENTS[0]: (~late, USERS), SEGMENTS[2]: (late, NEWCOMERS)}
    drawn = {name: rng.permutation(np.flatnonzero(among))[:most] for name, (among, most) in groups.items()}
    return {name: [f"u{user:06d}" for user in sorted(rows.tolist())] for name, rows in drawn.items()}


def _of_baselines(log: Log, at_us: int, baselines: Sequence[System]) -> dict[str, System]:
    """Baselines that know everything that was read by then; constants from the random protocol's validation."""
    split = PROTOCOLS["random"](log, None)
    known = log.known_us < at_us
    everybody = np.arange(log.users, dtype=np.int32)
    task = Task(at_us, known, log.live(at_us), everybody, np.empty(0, np.int32), np.empty(0, np.int32))
    for baseline in baselines:
        baseline.prepare(log, split)
        baseline.fit(log, task)
    return {baseline.name: baseline for baseline in baselines}


class _Evaluator:
    """Scores of every system, for one user after the other."""

    def __init__(
        self, truth: World, end: datetime, offline: LakeSnapshot, log: Log, baselines: Mapping[str, System]
    ) -> None:
        self.found: dict[str, dict[str, list[float]]] = {segment: {} for segment in SEGMENTS}
        self._truth, self._offline, self._log, self._baselines = truth, offline, log, baselines
        self._now_us, self._day_us = micros(end), micros(end - timedelta(days=1))
        self._settings = of_every_age(RankingSettings())
        self._pipeline = Pipeline(default_components(ALL_FEATURES), lambda ctx, slate: None)
        by_openings = replace(self._settings, rank=RankSettings(value_weights=OPENINGS))
        self._learned = {
            REX: ranker_for(self._settings, offline.model, offline.digest),
            f"{REX}, by openings": ranker_for(by_openings, offline.model, offline.digest),
        }
        known = hash64_many(log.story_ids.to_pylist())  # ascending, which is the log's order
        self._in_log: I32 = np.searchsorted(known, offline.story_table.hashes).astype(np.int32)

    def evaluate(self, user_id: str, group: str) -> None:
        """Adds the user's NDCG of every system to `found`."""
        candidates = self._candidates(user_id)
        scores = self._scores(user_id, candidates)
        table = self._offline.story_table
        interest = self._truth.interest([user_id], [table.story_id(int(row)) for row in candidates.rows])[0]
        parts = {group: np.ones(len(candidates), bool)}
        if group == SEGMENTS[0]:
            parts[SEGMENTS[1]] = candidates.of(table.published_at) >= self._day_us
        for segment, among in parts.items():
            if among.sum() > TOP and interest[among].max() > 0:
                for name, score in scores.items():
                    self.found[segment].setdefault(name, []).append(ndcg_of(score[among], interest[among]))

    def _candidates(self, user_id: str) -> Candidates:
        """Everything that the rules admit, by row, with all features."""
        pipeline = self._pipeline
        ctx = self._offline.context(user_id, self._now_us, self._settings, pipeline.components)
        return pipeline.annotate(ctx, pipeline.preprocess(ctx, pipeline.aggregate(ctx)))

    def _scores(self, user_id: str, candidates: Candidates) -> dict[str, F32]:
        """float32[n] of every system."""
        n, columns = len(candidates), candidates.columns
        scores = {
            **{name: ranker.score(columns, n) for name, ranker in self._learned.items()},
            HAND: Weighted().score(columns, n),
            "newest first": np.arange(n, dtype=np.float32),  # rows are by date
            "popularity": columns["story_reads"],
            "decayed popularity": columns["story_trend"],
        }
        place, story = self._log.user_ids.index(user_id).as_py(), self._in_log[candidates.rows]
        for name, baseline in self._baselines.items():
            of_user = baseline.scores(np.array([place], np.int32))[0] if place >= 0 else np.zeros(self._log.stories)
            scores[name] = of_user[story].astype(np.float32)
        return scores


def ndcg_of(score: F32 | F64, gain: F32) -> float:
    """NDCG of one user; of equal scores the later row, which is the newer story, first."""
    place = np.arange(len(score))
    order = np.lexsort((-place, -score))
    return float(ndcg(np.zeros(len(score), np.int64), place, gain[order].astype(np.float64))[0])

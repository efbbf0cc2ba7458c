"""Ranks out of scores, and baselines on logs whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evaluation.evaluating import evaluate_systems, paired
from evaluation.protocols import PROTOCOLS
from evaluation.ranking import LAST, NOTHING, Budget, best_of, ranked
from evaluation.reading_log import Log
from evaluation.systems.simple import DecayedPopularity, NewestFirst, Popularity
from evaluation.task import Split, Task
from features.arrays import F32, I32
from tests.evaluation.logs import interactions, log_of, number, user

STORIES = {f"s{i}": i / 10 for i in range(12)}
"""s11 is the newest."""


class Given:
    """Scores by story id, the same for everybody."""

    def __init__(self, scores: dict[str, float], name: str = "given") -> None:
        self.name = name
        self._by_id = scores

    def prepare(self, log: Log, split: Split) -> str:
        return ""

    def fit(self, log: Log, task: Task) -> None:
        ids = log.story_ids.to_pylist()
        self._score = np.array([self._by_id.get(story, LAST) for story in ids], np.float32)

    def scores(self, users: I32) -> F32:
        return np.tile(self._score, (len(users), 1))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """Ann read s0–s4 on day 2 and s5, s6 on day 3; a crowd read s0, most of them long before."""
    crowd = [(f"c{i}", "s0", 2.0) for i in range(6)] + [(f"c{i}", "s7", 2.9) for i in range(3)]
    rows = [*((("ann", f"s{i}", 2.2 + i / 100)) for i in range(5)), *crowd, ("ann", "s5", 3.1), ("ann", "s6", 3.2)]
    return log_of(tmp_path, STORIES, interactions(rows))


@pytest.fixture
def split(log: Log) -> Split:
    return PROTOCOLS["rolling"](log, None)


def _ranks(log: Log, split: Split, system: Given) -> dict[str, int]:
    (task,) = split.tasks
    system.fit(log, task)
    ranks = ranked(log, task, system).ranks
    return {log.story_ids[int(story)].as_py(): int(rank) for story, rank in zip(task.positives, ranks, strict=True)}


def test_a_rank_counts_the_unread_stories_above(log: Log, split: Split) -> None:
    """s0–s4 are read, so only s11 and s10 stand above s5, and s5, too, above s6."""
    scores = {**{f"s{i}": 9.0 for i in range(5)}, "s11": 5, "s10": 4, "s5": 3, "s6": 2}
    assert _ranks(log, split, Given(scores)) == {"s5": 2, "s6": 3}


def test_ties_are_broken_by_the_hash_of_the_story_which_favours_no_system(log: Log, split: Split) -> None:
    everything = {f"s{i}": 1.0 for i in range(12)}
    unread = [number(log, f"s{i}") for i in range(5, 12)]
    expected = {s: int(sum(other < number(log, s) for other in unread)) for s in ("s5", "s6")}
    assert _ranks(log, split, Given(everything)) == expected


def test_what_a_system_would_not_show_stands_below_everything_else(log: Log, split: Split) -> None:
    scores = {f"s{i}": -1e30 for i in range(6, 12)}
    assert _ranks(log, split, Given(scores))["s5"] == 6


def test_lists_hold_what_is_eligible_best_first(log: Log, split: Split) -> None:
    (task,) = split.tasks
    system = Given(
        {**{f"s{i}": 9.0 for i in range(5)}, "s11": 5, "s10": 4, "s9": 3, "s8": 2, "s7": 1, "s6": 0, "s5": -1}
    )
    system.fit(log, task)
    top = ranked(log, task, system).top[0]
    names = [log.story_ids[int(story)].as_py() for story in top if story != NOTHING]
    assert names == ["s11", "s10", "s9", "s8", "s7", "s6", "s5"]
    assert len(top) == 10


def test_a_pool_is_all_that_counts_in_a_sampled_protocol(log: Log) -> None:
    (task,) = PROTOCOLS["rolling"](log, 3).tasks
    system = Given({f"s{i}": float(i) for i in range(12)})
    system.fit(log, task)
    ranks = ranked(log, task, system).ranks
    assert task.pools is not None
    score = system.scores(task.users[:1])[0]
    assert ranks.tolist() == [
        int((score[pool] > score[story]).sum()) for pool, story in zip(task.pools, task.positives, strict=True)
    ]


def test_newest_first_and_the_popularities_order_as_they_say(log: Log, split: Split) -> None:
    """s0 was read by seven, s7 by three and later: it wins as soon as reads fade quickly."""
    (task,) = split.tasks
    row = np.array([user(log, "ann")], np.int32)
    best = {}
    for system in (NewestFirst(), Popularity(), DecayedPopularity(0.25), DecayedPopularity(128.0)):
        system.fit(log, task)
        best[getattr(system, "half_life_d", system.name)] = log.story_ids[int(system.scores(row)[0].argmax())].as_py()
    assert best == {"newest first": "s11", "popularity": "s0", 0.25: "s7", 128.0: "s0"}


def test_no_system_that_learns_sees_what_is_not_known(log: Log, split: Split) -> None:
    """Fitted on the same log with the test day removed, every score is the same."""
    (task,) = split.tasks
    users = task.users
    blind = Log(
        **{
            f: (getattr(log, f)[task.known] if len(getattr(log, f)) == len(log) else getattr(log, f))
            for f in log.__dataclass_fields__
        }
    )
    alone = Task(task.at_us, np.ones(len(blind), bool), task.live, users, task.asked, task.positives)
    for system in (NewestFirst(), Popularity(), DecayedPopularity(1.0)):
        system.fit(log, task)
        seeing = system.scores(users).copy()
        system.fit(blind, alone)
        assert (system.scores(users) == seeing).all()


def test_the_best_setting_of_the_validation_is_chosen_and_none_without_time(log: Log, split: Split) -> None:
    good, bad = Given({"s5": 1.0, "s6": 1.0}, "good"), Given({"s11": 1.0}, "bad")
    assert best_of([bad, good], log, split.tasks, Budget(60)) is good
    assert best_of([bad, good], log, split.tasks, Budget(0)) is None
    assert best_of([bad, good], log, (), Budget(60)) is None


def test_systems_share_requests_so_that_differences_are_paired(log: Log, split: Split) -> None:
    good, bad = evaluate_systems(log, split, [Given({"s5": 2.0, "s6": 1.0}, "good"), Given({"s11": 1.0}, "bad")])
    assert good.metrics["ndcg@5"].value == 1
    assert paired(good, bad, split, "ndcg@5").value == pytest.approx(1 - bad.metrics["ndcg@5"].value)


SMALL = {
    "ALS": {"factors": 2, "alpha": 1.0, "regularization": 1.0},  # two circles, two factors
    "BPR": {"factors": 4, "learning_rate": 0.05, "regularization": 0.01, "iterations": 300},
    "ItemKNN": {"weighting": "cosine", "K": 20},
}


@pytest.mark.parametrize("kind", SMALL)
def test_collaborative_filters_find_the_readers_own_circle(tmp_path: Path, kind: str) -> None:
    """Two circles read ten stories each; everybody's two hidden ones are of their own circle, so they come first."""
    collaborative = pytest.importorskip("evaluation.systems.collaborative", reason="needs the extra `eval`")
    pytest.importorskip("implicit", reason="needs the extra `eval`")
    rng = np.random.default_rng(1)
    stories = {f"{circle}{i}": 0.0 for circle in "ab" for i in range(10)}
    rows = [
        (f"{circle}{u}", f"{circle}{s}", 1 + float(rng.random()))
        for circle in "ab"
        for u in range(15)
        for s in rng.permutation(10)[:8]
    ]
    log = log_of(tmp_path, stories, interactions(rows))
    split = PROTOCOLS["random"](log, None)
    (evaluated,) = evaluate_systems(log, split, [getattr(collaborative, kind)(SMALL[kind], Budget(0))])
    assert evaluated.metrics["recall@5"].value > 0.8

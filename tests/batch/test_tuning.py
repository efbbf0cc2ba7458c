"""Constants chosen on a lake itself: what wins, what is written, and what a batch then goes by."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from batch.settings import BatchSettings
from batch.tuning import als, half_lives
from batch.tuning.als import places_among
from batch.tuning.half_lives import DAY_H, Reads, places_in
from batch.tuning.tune import tune
from batch.tuning.tuned import NAME, Tried, Tuned, is_due, read_tuned, settings_of, tuned_table, write_tuned
from features.errors import BadInput
from features.ranking_metrics import discount
from tests.lakes import NOON, ago, event, story, write_lake

FIRST_HOUR = 400_000
SETTINGS = BatchSettings(shuffle_partitions=1, als_iterations=2)


def nothing_shown(pairs: object) -> DataFrame:
    """A lake that does not log what is shown."""
    return pairs.select("user_id", "story_id").limit(0)  # type: ignore[attr-defined, no-any-return]


def always() -> bool:
    return True


def counts(reads: Callable[[int, int], float], stories: int = 20, days: int = 12) -> Reads:
    """`reads` of (story, day), all at the day's noon, of stories that were out before the first day."""
    pairs = [(s, d) for s in range(stories) for d in range(days) if reads(s, d)]
    story, day = np.array(pairs).T
    hour = (FIRST_HOUR // DAY_H + day) * DAY_H + 12
    count = np.array([reads(s, d) for s, d in pairs], np.float64)
    return Reads(story, hour, count, np.full(stories, FIRST_HOUR - 100))


def test_places_count_what_stands_above_and_half_of_what_is_level() -> None:
    others = np.array([[3.0, 2.0, 2.0, 1.0], [9.0, 9.0, 9.0, 9.0]])
    assert places_among(np.array([2.0, 10.0]), others).tolist() == [2, 0]
    assert places_in(np.array([1.0, 5.0, 5.0])).tolist() == [2, 1, 0]
    assert discount(np.array([0, 2])).tolist() == [1.0, 0.5]


class TestHalfLives:
    def test_where_only_yesterday_matters_the_shortest_wins(self) -> None:
        chosen, _, notes = half_lives.choose(counts(lambda s, d: 9.0 if s in (d, d - 1) else float(s % 3)), always)
        assert chosen["trending_half_life_h"] == 3.0
        assert not notes

    def test_where_nothing_changes_but_by_chance_the_longest_wins(self) -> None:
        rng = np.random.default_rng(4)
        noise = rng.poisson(np.linspace(1, 6, 20)[:, None], (20, 12))
        chosen, _, _ = half_lives.choose(counts(lambda s, d: float(noise[s, d])), always)
        assert chosen["trending_half_life_h"] >= 48.0

    def test_reads_of_the_days_ahead_are_not_known(self) -> None:
        """What is read ahead decides the value, and nothing of it the score."""
        reads = counts(lambda s, d: float(s + 1))
        day = np.array([int(reads.hour.max()) // DAY_H])
        goal = half_lives.GOALS[0]
        value = half_lives.predicted(reads, day, 12.0, goal)
        later = reads.hour // DAY_H == day[0]
        turned = Reads(reads.story, reads.hour, np.where(later, 21 - reads.count, reads.count), reads.published_hour)
        assert half_lives.predicted(turned, day, 12.0, goal) < value

    def test_too_few_days_are_told(self) -> None:
        chosen, tried, notes = half_lives.choose(counts(lambda s, d: 1.0, days=2), always)
        assert (chosen, tried) == ({}, [])
        assert "keep their defaults" in notes[0]


class TestTaste:
    @pytest.fixture
    def pairs(self, spark: SparkSession) -> object:
        """Two circles of 40 users, each reading half of their own 120 stories."""
        rng = np.random.default_rng(6)
        rows = [
            (f"{c}{u}", f"{c}-{s}", 1.0) for c in "ab" for u in range(40) for s in rng.permutation(120)[:60].tolist()
        ]
        return spark.createDataFrame(rows, "user_id string, story_id string, strength double")

    def test_the_best_of_what_was_tried_is_chosen_and_the_budget_ends_it(self, pairs: object) -> None:
        asked = itertools.count()
        chosen, tried, notes = als.choose(pairs, nothing_shown(pairs), SETTINGS, lambda: next(asked) < 2)  # type: ignore[arg-type]
        assert len(tried) == 3  # the first is always tried, then as long as there is time
        assert chosen == max(tried, key=lambda one: one.value).settings
        assert min(one.value for one in tried) > 0.25  # by chance it is 0.22: circles are told apart
        assert not notes

    def test_hidden_pairs_are_hidden_and_ranked_among_what_was_never_touched(self, pairs: object) -> None:
        marked = als.with_hidden(pairs)  # type: ignore[arg-type]
        hidden = als.hidden_of(marked, als.skipped(marked, nothing_shown(pairs)))
        assert hidden is not None
        share = len(hidden.user) / marked.count()
        assert 0.15 < share < 0.25
        touched = {(row.user_id, row.story_id) for row in marked.collect()}
        for user, pool in zip(hidden.user.tolist(), hidden.negatives.tolist(), strict=True):
            ids = {hidden.stories[story].as_py() for story in pool}
            assert not {(hidden.users[user].as_py(), one) for one in ids} & touched

    def test_where_it_is_logged_what_was_shown_hidden_pairs_are_ranked_among_what_was_passed_over(
        self, pairs: object, spark: SparkSession
    ) -> None:
        rows = [(f"a{u}", f"a-{s}") for u in range(10) for s in range(120)]  # ten users were shown all of their circle
        shown = spark.createDataFrame(rows, "user_id string, story_id string")
        marked = als.with_hidden(pairs)  # type: ignore[arg-type]
        hidden = als.hidden_of(marked, als.skipped(marked, shown))
        assert hidden is not None
        touched = {(row.user_id, row.story_id) for row in marked.collect()}
        asked = {hidden.users[user].as_py() for user in hidden.user.tolist()}
        assert asked == {f"a{u}" for u in range(10)}
        for user, pool in zip(hidden.user.tolist(), hidden.negatives.tolist(), strict=True):
            ids = {(hidden.users[user].as_py(), hidden.stories[story].as_py()) for story in pool}
            assert ids <= set(rows) - touched

    def test_too_few_users_are_told(self, spark: SparkSession) -> None:
        few = spark.createDataFrame([("u", "s", 1.0)], "user_id string, story_id string, strength double")
        chosen, tried, notes = als.choose(few, nothing_shown(few), SETTINGS, always)
        assert (chosen, tried) == ({}, [])
        assert "keep their defaults" in notes[0]


class TestTuned:
    TUNED = Tuned("2026-01-31T00:00:00+00:00", {"als_rank": 64, "story_half_life_d": 6.0}, (Tried({"x": 1}, "c", 2),))

    def test_a_batch_goes_by_what_was_chosen_unless_told_otherwise(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert settings_of(tmp_path) == BatchSettings()
        write_tuned(tmp_path, self.TUNED)
        assert read_tuned(tmp_path) == self.TUNED
        assert (settings_of(tmp_path).als_rank, settings_of(tmp_path).story_half_life_d) == (64, 6.0)
        assert settings_of(tmp_path, als_rank=8).als_rank == 8
        monkeypatch.setenv("REX_BATCH_STORY_HALF_LIFE_D", "2")
        assert (settings_of(tmp_path).als_rank, settings_of(tmp_path).story_half_life_d) == (64, 2.0)

    def test_a_damaged_file_is_told(self, tmp_path: Path) -> None:
        (tmp_path / NAME).write_text("{")
        with pytest.raises(BadInput, match="is damaged"):
            settings_of(tmp_path)
        (tmp_path / NAME).write_text(json.dumps({"as_of": "x", "chosen": {"als_rank": -1}, "tried": [], "notes": []}))
        with pytest.raises(BadInput, match="does not fit this code"):
            settings_of(tmp_path)

    def test_it_is_due_when_it_is_old(self, tmp_path: Path) -> None:
        assert is_due(tmp_path, NOON, 28)
        write_tuned(tmp_path, Tuned(ago(days=27).isoformat(), {}, ()))
        assert not is_due(tmp_path, NOON, 28)
        assert is_due(tmp_path, NOON, 27)


def test_a_lake_is_tuned_by_what_it_knows_and_the_file_says_so(spark: SparkSession, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    stories = [story(f"s{i:03d}", ago(days=30)) for i in range(160)]
    reads = [
        event(f"u{u}", "read", f"s{s:03d}", ago(days=float(rng.uniform(0, 10))))
        for u in range(20)
        for s in rng.permutation(160)[:12].tolist()
    ]
    lake = write_lake(tmp_path / "lake", stories=stories, events=reads)
    seconds = itertools.count()  # each look at the clock is a second later
    tuned = tune(lake, NOON, lambda: float(next(seconds)), now=NOON, settings=SETTINGS, budget_s=3, spark=spark)
    assert read_tuned(lake) == tuned
    assert set(tuned.chosen) == {
        "trending_half_life_h", "story_half_life_d", "als_rank", "als_regularisation", "als_alpha"
    }  # fmt: skip
    assert settings_of(lake).als_rank == tuned.chosen["als_rank"]
    assert sum("als_rank" in one.settings for one in tuned.tried) == 1, "the budget was used up before"
    assert tuned_table(tuned)

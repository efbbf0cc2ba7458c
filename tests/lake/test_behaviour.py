"""What users do follows from their true interest, in the proportions real logs have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.errors import BadInput
from features.times import DAY_US
from lake.simulator import WorldConfig, simulate
from lake.simulator.behaviour import MAX_CLAPS, POSITION_DECAY
from lake.simulator.world import load_world
from tests.lake.conftest import ENDS_AT, SmallLake, open_lake

IMPRESSIONS = """SELECT DISTINCT request_id, position, user_id, story_id FROM events WHERE type = 'impression'"""
OPENS = """SELECT DISTINCT request_id, position, true AS opened FROM events WHERE type = 'open'"""
SHOWN = f"""SELECT position, user_id, story_id, coalesce(opened, false) AS opened
            FROM ({IMPRESSIONS}) LEFT JOIN ({OPENS}) USING (request_id, position) ORDER BY ALL"""


def true_interest(small: SmallLake, users: list[str], stories: list[str]) -> np.ndarray:
    """Interest of pairs by way of the public matrix: float32[n]."""
    all_users, all_stories = sorted(set(users)), sorted(set(stories))
    matrix = small.world.interest(all_users, all_stories)
    return matrix[np.searchsorted(all_users, users), np.searchsorted(all_stories, stories)]


def test_opens_fall_with_position_as_declared(small: SmallLake) -> None:
    shown = small.db.execute(SHOWN).fetchnumpy()
    interest = true_interest(small, shown["user_id"].tolist(), shown["story_id"].tolist())
    position, opened = shown["position"], shown["opened"]
    for low, high in ((0, 1), (1, 3), (3, 8), (8, 20)):
        here = (position >= low) & (position < high)
        chance = interest[here] * (1.0 + position[here]) ** -POSITION_DECAY
        error = 4 * np.sqrt((chance * (1 - chance)).sum())
        assert abs(opened[here].sum() - chance.sum()) < error, f"opens at positions {low} to {high - 1}"
    first, tenth = opened[position == 0].mean(), opened[(position >= 8) & (position <= 12)].mean()
    assert first > 2 * tenth


def test_opens_rise_with_the_true_interest_that_the_world_file_gives(small: SmallLake) -> None:
    shown = small.db.execute(SHOWN + " ").fetchnumpy()
    at_top = shown["position"] == 0  # everybody looks there: P(open) is the interest
    interest = true_interest(small, shown["user_id"][at_top].tolist(), shown["story_id"][at_top].tolist())
    opened = shown["opened"][at_top]
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 1.0)):
        here = (interest >= low) & (interest < high)
        expected, n = interest[here].mean(), here.sum()
        assert n > 100
        assert abs(opened[here].mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / n)


def test_a_read_has_a_dwell_and_a_clap_has_claps_and_nothing_else_has(small: SmallLake) -> None:
    assert small.value("SELECT count(*) FROM events WHERE (type = 'read') <> (dwell_s IS NOT NULL)") == 0
    assert small.value("SELECT count(*) FROM events WHERE (type = 'clap') <> (claps IS NOT NULL)") == 0
    assert small.value("SELECT min(dwell_s) FROM events") >= 10  # type: ignore[operator]
    assert small.value(f"SELECT count(*) FROM events WHERE claps NOT BETWEEN 1 AND {MAX_CLAPS}") == 0


def test_what_follows_an_open_comes_after_it(small: SmallLake) -> None:
    early = """SELECT count(*) FROM events a JOIN events o USING (request_id, position)
               WHERE o.type = 'open' AND a.type IN ('read', 'clap', 'save', 'share') AND a.occurred_at < o.occurred_at"""
    assert small.value(early) == 0
    unopened = """SELECT count(*) FROM events a ANTI JOIN (SELECT * FROM events WHERE type = 'open') o
                  USING (request_id, position) WHERE a.type IN ('read', 'clap', 'save', 'share')"""
    assert small.value(unopened) == 0


def test_claps_have_the_long_tail_of_real_ones(tmp_path: Path) -> None:
    # Medium's stories: median 78, p90 329, p99 1,237, so p90/median = 4.2 and p99/median = 16.
    config = WorldConfig(users=1_000, stories=4_000, events=200_000, seed=5, ends_at=ENDS_AT)
    simulate(config, tmp_path / "lake", workers=1)
    totals = "SELECT sum(claps) n FROM (SELECT DISTINCT * FROM events WHERE type = 'clap') GROUP BY story_id"
    row = (
        open_lake(tmp_path / "lake")
        .execute(f"SELECT median(n), quantile_cont(n, 0.9), quantile_cont(n, 0.99) FROM ({totals})")
        .fetchone()
    )
    assert row is not None
    assert 3.0 < row[1] / row[0] < 6.0, f"p90/median is {row[1] / row[0]:.1f}"
    assert 10.0 < row[2] / row[0] < 24.0, f"p99/median is {row[2] / row[0]:.1f}"


def test_knowing_a_user_pays_far_more_than_knowing_what_is_popular(small: SmallLake) -> None:
    truth = small.world.truth
    live = np.nonzero(truth.stories.published_us >= truth.config.ends_us - 10 * DAY_US)[0]
    stories = [f"s{row:07d}" for row in live]
    reads = dict(small.db.execute("SELECT story_id, count(*) FROM events WHERE type = 'read' GROUP BY 1").fetchall())
    interest = small.world.interest([f"u{row:06d}" for row in range(200)], stories)
    popular = np.argsort([-reads.get(story, 0) for story in stories], kind="stable")[:20]
    oracle = np.sort(interest, axis=1)[:, -20:].mean()
    assert oracle > 0.65
    assert interest.mean() * 1.5 < interest[:, popular].mean() < 0.65 * oracle


class TestTruth:
    """The world file gives back exactly what made the behaviour."""

    def test_interest_has_the_same_bits_in_any_company(self, small: SmallLake) -> None:
        users, stories = ["u000003", "u000250"], ["s0000007", "s0000900", "s0001400"]
        matrix = small.world.interest(users, stories)
        assert matrix.shape == (2, 3)
        assert matrix.dtype == np.float32
        assert ((matrix >= 0) & (matrix <= 1)).all()
        for row, user in enumerate(users):
            for column, story in enumerate(stories):
                assert small.world.interest([user], [story])[0, 0] == matrix[row, column]

    def test_a_language_the_user_does_not_read_is_of_no_interest(self, small: SmallLake) -> None:
        truth = small.world.truth
        user = int(np.nonzero(~truth.users.reads_language.all(axis=1))[0][0])
        unread = ~truth.users.reads_language[user, truth.stories.language]
        matrix = small.world.interest([f"u{user:06d}"], [f"s{row:07d}" for row in range(truth.config.stories)])
        assert unread.any()
        assert (matrix[0, unread] == 0).all()
        assert (matrix[0, ~unread] > 0).all()

    @pytest.mark.parametrize(("user", "story"), [("u000300", "s0000001"), ("x", "s0000001"), ("u000001", "s0001500")])
    def test_unknown_ids_are_refused(self, small: SmallLake, user: str, story: str) -> None:
        with pytest.raises(BadInput, match="simulated world has no"):
            small.world.interest([user], [story])

    def test_a_lake_that_was_not_simulated_has_no_truth(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="true interest is known of simulated lakes only"):
            load_world(tmp_path)

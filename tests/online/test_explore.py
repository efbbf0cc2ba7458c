"""Exploration: a stated share of a list is drawn at random among fresh stories, the same for the same slate, and says how likely it was."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from features.raw_datasets import VISIBILITIES
from online.components import default_components
from online.context import Context
from online.pipeline import Pipeline
from online.postprocessors.blocks import Caps, Demands, ExplorationDraws, Limits, RankedCandidates, fill
from online.postprocessors.explore import POOL
from online.service_settings import OnlineSettings
from online.slates.slate import Slate
from online.story_table.table import StoryTable
from online.streams.archiver import archive
from tests.online.conftest import FeedServer, wait_until
from tests.online.small_world import context, ids, story_table

KNOWN, FRESH = 3000, 700
SETTINGS = OnlineSettings(postprocess={"explore_share": 0.05, "promoted_slots": ()})


def stories() -> list[dict[str, Any]]:
    """Well-read ones, and fresh ones that nobody has read and the ranking puts last."""
    read = {"story_popularity": 5.0, "story_open_rate": 0.5}
    known = [{"id": f"k{i:04}", "author": f"a{i % 500}", "age_h": 5.0 + i / 100, **read} for i in range(KNOWN)]
    unread = {"story_popularity": 0.0, "story_open_rate": 0.0}
    return known + [{"id": f"f{i:04}", "author": f"b{i}", "age_h": 1 + i / 100, **unread} for i in range(FRESH)]


@pytest.fixture(scope="module")
def there() -> StoryTable:
    return story_table(stories())


def built(of: StoryTable, settings: OnlineSettings = SETTINGS, user: str = "u-reader") -> tuple[Context, Slate]:
    ctx = context(of, user, settings)
    return ctx, Pipeline(default_components(), lambda ctx, slate: None).build(ctx)


def drawn(of: StoryTable, slate: Slate) -> list[int]:
    """Places of the fresh stories."""
    return [i for i, row in enumerate(of.by_hash.find(slate.stories)) if of.story_id(int(row)).startswith("f")]


class TestShare:
    @pytest.mark.parametrize(("share", "places"), [(0.05, range(10, 1000, 20)), (0.02, range(25, 1000, 50))])
    def test_holds_and_the_places_are_the_declared_ones(self, there: StoryTable, share: float, places: range) -> None:
        settings = SETTINGS.model_copy(
            update={"postprocess": replace(SETTINGS.postprocess, explore_share=share, new_author_share=0.0)}
        )
        _, slate = built(there, settings)
        assert len(slate) == 1000
        assert drawn(there, slate) == list(places)

    def test_of_nothing_changes_nothing(self, there: StoryTable) -> None:
        _, slate = built(
            there,
            SETTINGS.model_copy(
                update={"postprocess": replace(SETTINGS.postprocess, explore_share=0.0, new_author_share=0.0)}
            ),
        )
        assert drawn(there, slate) == []
        assert not len(slate.propensities)

    def test_what_was_not_drawn_is_placed_by_nothing_else(self, there: StoryTable) -> None:
        """The guaranteed minimum for new authors finds only what the ranking has kept, as without exploration."""
        _, slate = built(there, SETTINGS)
        assert len(drawn(there, slate)) == 50

    def test_well_read_old_and_forbidden_stories_are_not_drawn(self) -> None:
        assert "followers" in VISIBILITIES
        far: dict[str, Any] = {"story_open_rate": 0.0}
        odd = [
            {"id": "f-read", "author": "b1", "story_popularity": 5.0, **far},
            {"id": "f-old", "author": "b2", "age_h": 60.0, **far},
            {"id": "f-hidden", "author": "b3", "visibility": "followers", **far},
        ]
        of = story_table(
            [one for one in stories() if one["id"].startswith("k")] + [*odd, {"id": "f-one", "author": "b4", **far}]
        )
        _, slate = built(
            of, SETTINGS.model_copy(update={"postprocess": replace(SETTINGS.postprocess, new_author_share=0.0)})
        )
        assert [of.story_id(int(of.by_hash.find(slate.stories)[i])) for i in drawn(of, slate)] == ["f-one"]

    def test_promoted_slots_stay_where_they_are(self, there: StoryTable) -> None:
        promotions = [{"id": f"p{i}", "story": f"k{i:04}"} for i in range(3)]
        of = story_table(stories(), promotions=promotions)
        _, slate = built(of, OnlineSettings(postprocess={"explore_share": 0.05, "promoted_slots": (10,)}))
        assert np.flatnonzero(slate.promotions).tolist() == [10, 30, 50]
        assert drawn(of, slate)[:4] == [11, 31, 51, 70]


class TestDraw:
    def test_the_same_request_draws_the_same_and_another_user_draws_others(self, there: StoryTable) -> None:
        first, again, other = (built(there, user=user)[1] for user in ("u1", "u1", "u2"))
        assert first.encode() == again.encode()
        assert not np.array_equal(first.stories[drawn(there, first)], other.stories[drawn(there, other)])

    def test_the_slates_id_alone_is_the_seed(self, there: StoryTable) -> None:
        """Here nothing but exploration draws is told apart: the first is drawn of the POOL, in rank order, with the id's first number."""
        settings = SETTINGS.model_copy(
            update={"postprocess": replace(SETTINGS.postprocess, new_author_share=0.0, explore_share=0.001)}
        )
        for user in ("u1", "u2", "u3"):
            _, slate = built(there, settings, user)
            (at,) = drawn(there, slate)
            chance = np.random.default_rng(int(slate.info.id, 16)).random()
            newest = [
                f"f{i:04}" for i in range(POOL)
            ]  # of equal scores the newest first, and they differ by recency alone
            assert there.story_id(int(there.by_hash.find(slate.stories)[at])) == newest[int(chance * POOL)]

    def test_propensities_are_those_of_a_uniform_draw_among_what_is_left(self, there: StoryTable) -> None:
        _, slate = built(
            there, SETTINGS.model_copy(update={"postprocess": replace(SETTINGS.postprocess, new_author_share=0.0)})
        )
        at = drawn(there, slate)
        expected = np.ones(len(slate), np.float32)
        expected[at] = 1 / (POOL - np.arange(len(at), dtype=np.float32))
        assert slate.propensities == pytest.approx(expected)

    def test_over_many_slates_each_is_drawn_as_often_as_its_propensity_says(self) -> None:
        """Six candidates, two drawn of them: one has the author of a ranked entry and no capacity, two share one author."""
        author = np.array([0, 1, 2, 0, 3, 4, 4, 5], np.int32)
        eligible = np.array([False, False, True, True, True, True, True, True])
        caps, nobody = Caps(1, 9, 9), np.empty(0, np.int32)
        counts: Counter[tuple[int, int]] = Counter()
        n = 1500
        for seed in range(n):
            limits = Limits(author, np.full(8, -1, np.int32), (caps, Caps(9, 9, 9)), (nobody, nobody))
            ranked = RankedCandidates(limits, np.zeros(8, np.int16), np.zeros(8, bool), nobody, nobody)
            exploration_draws = ExplorationDraws(0.5, eligible, np.zeros(8, bool), np.random.default_rng(seed))
            filled = fill(ranked, Demands(4, 4, (0.0,), 0.0), exploration_draws)
            first, second = filled.order[1], filled.order[3]
            assert sorted(filled.order.tolist()) == list(range(8))
            counts[int(first), int(second)] += 1
            # 2, 4, 5, 6, 7 have capacity; after 5 or 6, neither of the two has.
            assert filled.propensity[first] == pytest.approx(1 / 5)
            assert filled.propensity[second] == pytest.approx(1 / (3 if first in (5, 6) else 4))
        for (first, _), count in counts.items():
            p = 1 / 5 / (3 if first in (5, 6) else 4)
            assert abs(count - n * p) < 5 * np.sqrt(n * p)
        assert len(counts) == 3 * 4 + 2 * 3

    def test_an_entry_with_a_slot_is_not_drawn_a_second_time(self) -> None:
        """Two candidates that may be drawn, of which one is promoted to the place behind the draw."""
        nobody, pinned = np.empty(0, np.int32), np.array([2], np.int32)
        for seed in range(20):
            limits = Limits(np.arange(4), np.full(4, -1, np.int32), (Caps(9, 9, 9), Caps(9, 9, 9)), (nobody, nobody))
            ranked = RankedCandidates(limits, np.zeros(4, np.int16), np.zeros(4, bool), pinned, np.array([3]))
            eligible = np.array([False, False, True, True])
            draws = ExplorationDraws(0.25, eligible, np.zeros(4, bool), np.random.default_rng(seed))
            filled = fill(ranked, Demands(4, 4, (0.0,), 0.0), draws)
            assert (filled.order.tolist(), filled.propensity[3]) == ([0, 1, 3, 2], 1.0)

    def test_a_short_list_is_whole_whatever_is_drawn(self) -> None:
        of = story_table([{"id": f"f{i}", "author": f"a{i}"} for i in range(7)])
        ctx, slate = built(of, OnlineSettings(postprocess={"explore_share": 0.5}))
        found = ids(of, Pipeline(default_components(), lambda ctx, slate: None).read(ctx, slate, 0, 20).entries)
        assert sorted(found) == [f"f{i}" for i in range(7)]
        assert (slate.propensities < 1).any()


def test_what_was_drawn_is_explained(there: StoryTable) -> None:
    _, slate = built(there)
    row = int(there.by_hash.find(slate.stories)[10])
    ctx = context(there, settings=SETTINGS)
    ctx.trace.watched_row = row
    Pipeline(default_components(), lambda ctx, slate: None).build(ctx)
    assert [move["reason"] for move in ctx.trace.watched["moves"]] == ["explored"]
    assert ctx.trace.watched["positions"]["blend"] == 10


def test_propensities_reach_the_log_of_what_was_served(
    feed_server: FeedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb

    from online.http.app import create_app
    from tests.online.conftest import OFTEN, serving

    feed_server.publish([{"id": f"s{i:02}", "author": f"a{i}", "age_h": 1.0 + i} for i in range(40)])
    online = OFTEN.model_copy(update={"postprocess": replace(OFTEN.postprocess, explore_share=0.1)})
    with serving(create_app(feed_server.settings, online, clock=lambda: feed_server.now)) as feed_server.http:
        feed_server.wait_for(feed_server.http.get("/readyz").json()["snapshot"])
        page = feed_server.feed("u1", limit=20, fresh=True)
        files = feed_server.settings.lake / "raw" / "served"
        wait_until(
            lambda: archive(feed_server.client, feed_server.keys, feed_server.settings.lake) >= 0 and files.is_dir()
        )
    rows = duckdb.sql(
        f"SELECT position, story_id, propensity FROM '{files}/**/*.parquet' "
        f"WHERE request_id = '{page['request_id']}' ORDER BY position"
    ).fetchall()
    assert [row[:2] for row in rows] == [(i, item["story_id"]) for i, item in enumerate(page["items"])]
    assert [position for position, _, propensity in rows if propensity < 1] == [5, 15]
    assert [propensity for _, _, propensity in rows if propensity < 1] == pytest.approx([1 / 22, 1 / 21])

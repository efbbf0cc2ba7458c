"""Promoted stories: where they stand, how often, for whom, and when they go."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from features.keys import hash64
from online.components import default_components
from online.context import Context
from online.pipeline import Pipeline
from online.service_settings import OnlineSettings
from online.slates.slate import ORGANIC, Slate
from online.user.build_inputs import BuildInputs
from online.user.user import EdgeChange
from tests.online.conftest import FeedServer, wait_until
from tests.online.small_world import context, ids, story_table
from tests.online.test_http_cache import asked_at_once, two_apps

PIPELINE = Pipeline(default_components(), lambda ctx, slate: None)
SMALL = OnlineSettings(postprocess={"page_block": 10, "promoted_slots": (2, 6), "max_promoted": 3})
OLD_H = 24 * 30.0
"""Too old to come as fresh: such a story is there by its promotion alone."""


def stories(n: int = 40) -> list[dict[str, Any]]:
    """Plain ones, one an hour, by many authors; and four old ones for promotions."""
    plain = [{"id": f"s{i:02}", "author": f"a{i}", "age_h": i + 1.0} for i in range(n)]
    return [*plain, *({"id": f"ad{i}", "author": f"b{i}", "age_h": OLD_H} for i in range(4))]


def promotion(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"p{number}", "story": f"ad{number}", **more}


def asked(promotions: list[dict[str, Any]], settings: OnlineSettings = SMALL, **known: Any) -> Context:
    return context(story_table(stories(), promotions=promotions), settings=settings, **known)


def built(ctx: Context) -> tuple[list[str], list[int]]:
    """Story ids of the slate, and the places of the promoted ones."""
    slate = PIPELINE.build(ctx)
    rows = ctx.story_table.by_hash.find(slate.stories)
    found = [ctx.story_table.story_id(int(row)) for row in rows]
    return found, np.flatnonzero(slate.promotions).tolist()


class TestSlots:
    def test_they_stand_at_the_declared_places_by_priority_then_id(self) -> None:
        found, places = built(asked([promotion(0), promotion(1), promotion(2, priority=9)]))
        assert places == [2, 6, 12]
        assert [found[place] for place in places] == ["ad2", "ad0", "ad1"]

    def test_a_slate_has_no_more_than_its_most(self) -> None:
        assert len(built(asked([promotion(i) for i in range(4)]))[1]) == 3

    def test_the_slate_marks_them_with_their_hash_and_leaves_the_others_organic(self) -> None:
        slate = PIPELINE.build(asked([promotion(0)]))
        assert slate.promotions.tolist() == [hash64("p0") if i == 2 else ORGANIC for i in range(len(slate))]

    def test_a_promoted_story_that_was_ranked_too_stands_at_its_slot_only(self) -> None:
        found, places = built(asked([{"id": "p", "story": "s30"}]))
        assert (places, found[2], found.count("s30"), len(found)) == ([2], "s30", 1, 40)

    def test_a_near_duplicate_of_a_promoted_story_goes_and_not_the_promoted_one(self) -> None:
        twins = [{"id": "ad-twin", "duplicate_key": 7, "age_h": OLD_H}, {"id": "s-twin", "duplicate_key": 7}]
        of = story_table([*stories(), *twins], promotions=[{"id": "p", "story": "ad-twin"}])
        found, _ = built(context(of, settings=SMALL))
        assert "ad-twin" in found
        assert "s-twin" not in found

    def test_of_near_duplicates_that_are_promoted_one_has_a_slot_and_the_next_takes_the_other(self) -> None:
        twins = [{"id": f"twin{i}", "duplicate_key": 7, "age_h": OLD_H} for i in range(2)]
        placed = [{"id": f"q{i}", "story": f"twin{i}", "priority": 9} for i in range(2)]
        of = story_table([*stories(), *twins], promotions=[*placed, promotion(0)])
        found, places = built(context(of, settings=SMALL))
        assert [(place, found[place]) for place in places] == [(2, "twin0"), (6, "ad0")]

    def test_a_list_that_collapses_before_it_reaches_a_slot_leaves_it_out(self) -> None:
        few = [{"id": f"s{i}", "author": f"a{i}", "age_h": i + 1.0, "duplicate_key": i // 4} for i in range(12)]
        ads = [{"id": f"ad{i}", "author": f"b{i}", "age_h": OLD_H} for i in range(2)]
        found, places = built(
            context(story_table([*few, *ads], promotions=[promotion(0), promotion(1)]), settings=SMALL)
        )
        assert (places, found[2], len(found)) == ([2], "ad0", 4)

    def test_two_promotions_of_one_story_take_one_slot(self) -> None:
        found, places = built(asked([promotion(0), {"id": "q", "story": "ad0", "priority": 3}]))
        assert (places, found.count("ad0")) == ([2], 1)

    def test_a_list_that_does_not_reach_a_slot_leaves_it_out_and_keeps_the_story_where_it_was_ranked(self) -> None:
        few = [{"id": "s0", "author": "a0"}, {"id": "s1", "author": "a1", "age_h": 5.0}]
        found, places = built(context(story_table(few, promotions=[{"id": "p", "story": "s1"}]), settings=SMALL))
        assert (found, places) == (["s0", "s1"], [])

    def test_a_promoted_story_beyond_the_cut_of_the_ranking_is_placed_all_the_same(self) -> None:
        tiny = OnlineSettings(cache={"slate_size": 8}, postprocess={"page_block": 8, "promoted_slots": (2,)})
        found, places = built(asked([promotion(0)], tiny))
        assert (places, found[2], len(found)) == ([2], "ad0", 8)


class TestWho:
    def test_every_rule_holds_for_promoted_stories(self) -> None:
        muted = EdgeChange("mute", "author", hash64("b0"), True)
        found, places = built(asked([promotion(0), promotion(1)], changes=[muted], hidden=["ad1"]))
        assert places == []
        assert not {"ad0", "ad1"} & set(found)

    def test_only_running_ones_count(self) -> None:
        later, over = promotion(0, started_h=-1.0, ends_in_h=2.0), promotion(1, started_h=2.0, ends_in_h=0.0)
        found, places = built(asked([later, over, promotion(2)]))
        assert [found[place] for place in places] == ["ad2"]
        assert not {"ad0", "ad1"} & set(found)

    def test_a_user_who_has_had_enough_today_gets_no_more_and_the_next_promotion_takes_the_slot(self) -> None:
        had = BuildInputs(promoted={hash64("p0"): 2, hash64("p1"): 1})
        found, places = built(asked([promotion(0, daily_cap=2), promotion(1, daily_cap=2)], build_inputs=had))
        assert [found[place] for place in places] == ["ad1"]
        assert "ad0" not in found

    def test_a_story_whose_promotion_is_capped_stays_where_it_was_ranked_without_the_mark(self) -> None:
        had = BuildInputs(promoted={hash64("p"): 1})
        ctx = asked([{"id": "p", "story": "s30", "daily_cap": 1}], build_inputs=had)
        slate = PIPELINE.build(ctx)
        at = slate.stories.tolist().index(hash64("s30"))
        assert slate.sources[at] == 1 << ctx.bits["fresh_stories"]
        assert not slate.promotions.any()


class TestOnRead:
    def read(self, slate: Slate, promotions: list[dict[str, Any]]) -> tuple[list[str], dict[str, int]]:
        ctx = asked(promotions)
        page = PIPELINE.read(ctx, slate, 0, 50)
        return ids(ctx.story_table, page.entries), page.dropped

    def test_an_ended_promotion_drops_and_nothing_takes_its_place(self) -> None:
        slate = PIPELINE.build(asked([promotion(0), promotion(1)]))
        before, _ = self.read(slate, [promotion(0), promotion(1)])
        left, dropped = self.read(slate, [promotion(0, ends_in_h=0.0), promotion(1), promotion(2)])
        assert left == [story for story in before if story != "ad0"]
        assert dropped == {"promotion_ended": 1}

    def test_a_promotion_that_the_current_snapshot_does_not_have_drops(self) -> None:
        slate = PIPELINE.build(asked([promotion(0)]))
        left, dropped = self.read(slate, [])
        assert "ad0" not in left
        assert dropped == {"promotion_ended": 1}

    def test_an_organic_entry_of_the_same_story_is_not_touched_when_a_promotion_ends(self) -> None:
        slate = PIPELINE.build(asked([]))
        _, dropped = self.read(slate, [{"id": "p", "story": "s05", "ends_in_h": 0.0}])
        assert dropped == {}


def test_explain_tells_from_where_a_promotion_took_its_story() -> None:
    ctx = asked([{"id": "p", "story": "s30"}])
    ctx.trace.watched_row = ctx.story_table.row("s30")
    PIPELINE.build(ctx)
    assert ctx.trace.watched["moves"] == [
        {"step": "promoted", "reason": "promoted", "from": ctx.trace.watched["positions"]["rank"], "to": 0},
        {"step": "blend", "reason": "promoted", "from": 0, "to": 2},
    ]


def promoted_in(page: dict[str, Any]) -> list[tuple[int, str]]:
    return [(item["position"], item["story_id"]) for item in page["items"] if item["promoted"]]


class TestOverHttp:
    def test_it_is_marked_and_stands_at_its_slot(self, feed_server: FeedServer) -> None:
        feed_server.publish(stories(), promotions=[promotion(0)])
        page = feed_server.feed("u-reader", limit=10)
        assert promoted_in(page) == [(4, "ad0")]
        assert page["items"][4]["reason"] == "Promoted"

    def test_the_cap_counts_slate_entries_of_a_utc_day(self, feed_server: FeedServer) -> None:
        feed_server.publish(stories(), promotions=[promotion(0, daily_cap=1, ends_in_h=24.0)])
        first = feed_server.feed("u-reader")
        again = feed_server.feed("u-reader")
        assert (promoted_in(first), promoted_in(again)) == ([(4, "ad0")], [(4, "ad0")])  # one slate, read twice
        assert promoted_in(feed_server.feed("u-reader", fresh=True)) == []
        assert promoted_in(feed_server.feed("u-other")) == [(4, "ad0")]
        feed_server.now += timedelta(hours=13)  # past midnight
        assert promoted_in(feed_server.feed("u-reader", fresh=True)) == [(4, "ad0")]

    def test_the_cap_holds_for_surfaces_that_are_built_side_by_side(self, feed_server: FeedServer) -> None:
        feed_server.publish(stories(), promotions=[promotion(0, daily_cap=1, ends_in_h=24.0), promotion(1)])
        with two_apps(feed_server) as pair:
            pair.gate.open.clear()
            with asked_at_once(lambda i: pair.feed("u-reader", app=i, surface=("home", "digest")[i]), 2) as pages:
                wait_until(lambda: pair.gate.rankings == 2)
                pair.gate.open.set()
        placed = sorted(story for page in pages for _, story in promoted_in(page.result()))
        assert placed == ["ad0", "ad1", "ad1"]
        counted = feed_server.client.hgetall(feed_server.keys.promoted("u-reader", "20260131"))
        assert counted == {b"%d" % hash64("p0"): b"1", b"%d" % hash64("p1"): b"2"}

    def test_a_surface_without_the_provider_of_promotions_has_none(self, feed_server: FeedServer) -> None:
        fan = {"u-fan": {"created_at": [1], "follow_author": [f"a{i}" for i in range(30)]}}
        feed_server.publish(stories(), fan, promotions=[{"id": "p", "story": "s10"}])
        page = feed_server.feed("u-fan", surface="following")
        assert "s10" in [item["story_id"] for item in page["items"]]
        assert promoted_in(page) == []

    def test_an_ended_one_is_gone_from_the_next_page_and_the_page_is_filled(self, feed_server: FeedServer) -> None:
        # The slots are 4 and 14: of pages of ten the second has one.
        feed_server.publish(stories(), promotions=[promotion(0, ends_in_h=24.0), promotion(1, ends_in_h=0.05)])
        first = feed_server.feed("u-reader", limit=10)
        feed_server.now += timedelta(minutes=4)
        second = feed_server.feed("u-reader", limit=10, cursor=first["next_cursor"])
        assert (promoted_in(first), promoted_in(second)) == ([(4, "ad0")], [])
        assert len(second["items"]) == 10
        assert not {item["story_id"] for item in first["items"]} & {item["story_id"] for item in second["items"]}

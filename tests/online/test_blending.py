"""What blending makes of a user, a story table and what was served before; the filler's arithmetic is in test_blocks.py."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from features.keys import hash64
from features.times import micros
from online.columns import Candidates
from online.components import default_components
from online.context import GROUPS, Context
from online.pipeline import Pipeline
from online.postprocessors.discount_impressions import unopened_weight
from online.providers.fresh_stories import FreshStories
from online.service_settings import OnlineSettings
from online.user.build_inputs import BuildInputs
from online.user.served_history import ServedHistory
from tests.online.small_world import context, everything, hours_ago, story_table

PIPELINE = Pipeline(default_components(), lambda ctx, slate: None)
SHARES = {f"share_{group}": 0.0 for group in GROUPS}


def slate_of(ctx: Context) -> list[str]:
    slate = PIPELINE.build(ctx)
    return [ctx.story_table.story_id(int(row)) for row in ctx.story_table.by_hash.find(slate.stories)]


def showings(*shown: tuple[str, float]) -> BuildInputs:
    """Story and how many hours ago a slate showed it."""
    stories = np.array([hash64(story) for story, _ in shown], np.int64)
    return BuildInputs(served=ServedHistory(stories, np.array([micros(hours_ago(h)) for _, h in shown], np.int64)))


class TestGroups:
    def test_a_story_counts_for_its_first_source(self) -> None:
        sources = np.array([0b1, 0b110, 0b1000, 1 << 31], np.uint32)
        assert Candidates(np.arange(4, dtype=np.int32), sources).first_source().tolist() == [0, 1, 3, 31]

    def test_a_group_that_there_is_not_is_refused(self) -> None:
        class Lost(FreshStories):
            name, group = "lost", "friends"

        with pytest.raises(ValueError, match="no group 'friends' of sources; a provider names one of followed, topics"):
            replace(default_components(), providers=(Lost(),))

    def test_every_shipped_provider_is_in_the_group_that_it_belongs_to(self) -> None:
        found = {provider.name: provider.group for provider in default_components().providers}
        assert found["timeline"] == found["followed_authors"] == found["followed_publications"] == "followed"
        assert found["followed_topics"] == "topics"
        assert found["similar_to_read"] == found["reading_history"] == "history"
        assert found["trending"] == found["fresh_stories"] == "discovery"


class TestShares:
    def test_followed_and_discovered_stories_share_a_block_whatever_their_scores(self) -> None:
        mine = [{"id": f"mine{i:02}", "author": f"m{i % 15}"} for i in range(30)]
        others = [{"id": f"other{i:02}", "author": f"o{i}", "story_open_rate": 1.0} for i in range(30)]
        ctx = context(
            story_table([*mine, *others]),
            settings=OnlineSettings(postprocess={**SHARES, "share_followed": 0.25, "share_discovery": 0.25}),
            follow_author=[f"m{i}" for i in range(15)],
        )
        for start in (0, 20):
            block = Counter(story[:4] for story in slate_of(ctx)[start : start + 20])
            assert block["mine"] >= 5
            assert block["othe"] >= 5

    def test_shares_that_add_up_to_more_than_everything_are_refused(self) -> None:
        with pytest.raises(ValidationError, match=r"add up to 1\.2; they must not exceed 1"):
            OnlineSettings(
                postprocess={"share_followed": 0.6, "share_topics": 0.6, "share_history": 0, "share_discovery": 0}
            )

    def test_equal_input_gives_equal_bytes(self) -> None:
        made = [
            {"id": f"s{i:02}", "author": f"a{i % 7}", "publication": f"p{i % 3}", "age_h": i + 1.0} for i in range(60)
        ]
        slates = [
            PIPELINE.build(
                context(story_table(made), follow_author=["a1"], build_inputs=showings(("s01", 1), ("s01", 2)))
            )
            for _ in range(2)
        ]
        assert slates[0].encode() == slates[1].encode()


STARS = [
    {"id": f"s{i:02}", "author": "star" if i < 5 else f"a{i}", "story_open_rate": (20 - i) / 20} for i in range(20)
]


class TestToday:
    settings = OnlineSettings(postprocess={"page_block": 5, "max_per_author": 2, "max_per_author_day": 3, **SHARES})

    def stars(self, reading: BuildInputs) -> list[int]:
        """Places of the star's stories."""
        found = slate_of(context(story_table(STARS), settings=self.settings, build_inputs=reading))
        return [place for place, story in enumerate(found) if story < "s05"]

    def test_an_author_answered_often_today_comes_after_the_others(self) -> None:
        rest = [15, 16]  # three a day; the others come in the block that nobody else can fill
        assert self.stars(BuildInputs()) == [0, 1, 5, *rest]
        shown = showings(("s03", 1), ("s04", 2))
        assert self.stars(shown) == [0, 15, 16, 17, 18]

    def test_yesterday_does_not_count(self) -> None:
        yesterday = showings(("s03", 13), ("s04", 14))  # it is noon
        assert self.stars(yesterday) == self.stars(BuildInputs())


class TestNewAuthors:
    def test_a_new_author_is_in_every_block_however_low_the_ranking(self) -> None:
        known = [{"id": f"old{i:02}", "author": f"a{i % 20}", "age_h": 24 * 60.0} for i in range(20)]
        fresh = [{"id": f"s{i:02}", "author": f"a{i % 20}", "story_open_rate": 1.0} for i in range(60)]
        new = [{"id": f"new{i}", "author": f"n{i}"} for i in range(3)]
        found = slate_of(context(story_table([*known, *fresh, *new]), settings=OnlineSettings(postprocess=SHARES)))
        assert [sum(story.startswith("new") for story in found[start : start + 20]) for start in (0, 20, 40)] == [
            1,
            1,
            1,
        ]


NINE = [{"id": f"s{i}", "author": f"a{i}", "story_open_rate": (9 - i) / 10} for i in range(9)]


class TestDiscountImpressions:
    plain = OnlineSettings(postprocess={"new_author_share": 0.0, **SHARES})

    def weight(self, *shown: tuple[str, float], **known: Any) -> float:
        ctx = context(story_table(NINE), settings=self.plain, build_inputs=showings(*shown), **known)
        return float(unopened_weight(ctx, everything(ctx.story_table))[ctx.story_table.row("s0")])

    def order(self, *shown: tuple[str, float], **known: Any) -> list[str]:
        return slate_of(context(story_table(NINE), settings=self.plain, build_inputs=showings(*shown), **known))

    def test_showings_add_up_and_halve_every_half_life(self) -> None:
        half_life_h = self.plain.postprocess.impression_half_life_h
        assert self.weight(("s0", half_life_h), ("s0", 2 * half_life_h), ("s1", 0)) == pytest.approx(0.5 + 0.25)

    def test_what_was_opened_or_read_was_not_shown_in_vain(self) -> None:
        from tests.online.test_rules import interactions

        twice = ("s0", 0.0), ("s0", 0.0)
        assert self.weight(*twice) == 2
        assert self.weight(*twice, interactions=interactions(open="s0")) == 0
        assert self.weight(*twice, read=["s0"], read_at=[5]) == 0

    def test_one_showing_changes_nothing_and_several_sink_a_story(self) -> None:
        assert self.order(("s0", 0.0))[0] == "s0"
        assert self.order(("s0", 0.0), ("s0", 1.0)).index("s0") > 2

    def test_it_comes_up_again_as_time_passes(self) -> None:
        places = [self.order(("s0", h), ("s0", h), ("s0", h)).index("s0") for h in (0.0, 36.0, 72.0, 144.0)]
        assert places == sorted(places, reverse=True)
        assert places[0] > 4
        assert places[-1] == 0

    def test_a_list_of_equal_scores_sinks_it_too(self) -> None:
        equal = [{"id": f"s{i}", "author": f"a{i}"} for i in range(5)]
        ctx = context(story_table(equal), settings=self.plain, build_inputs=showings(("s4", 0.0), ("s4", 0.0)))
        assert slate_of(ctx)[-1] == "s4"


class TestExplained:
    def watched(
        self, story: str, made: list[dict[str, Any]], **known: Any
    ) -> tuple[list[dict[str, Any]], dict[str, int]]:
        ctx = context(story_table(made), **known)
        ctx.trace.watched_row = ctx.story_table.row(story)
        PIPELINE.build(ctx)
        return ctx.trace.watched.get("moves", []), ctx.trace.stages[-2].parts

    def test_a_cap_is_told_with_the_places_and_counted_in_the_funnel(self) -> None:
        made = [
            {"id": f"s{i}", "author": "star" if i < 3 else f"a{i}", "story_open_rate": (9 - i) / 10} for i in range(9)
        ]
        settings = OnlineSettings(postprocess={"page_block": 3, "new_author_share": 0.0, **SHARES})
        moves, counts = self.watched("s2", made, settings=settings)
        assert moves == [{"step": "blend", "reason": "author_cap", "from": 2, "to": 3}]
        assert counts == {"author_cap": 1, "filled_up": 1}

    def test_sinking_and_promoting_are_told(self) -> None:
        settings = OnlineSettings(postprocess={"new_author_share": 0.0, **SHARES})
        moves, _ = self.watched("s0", NINE, settings=settings, build_inputs=showings(("s0", 0.0), ("s0", 0.0)))
        assert [(move["step"], move["reason"], move["from"]) for move in moves] == [
            ("discount_impressions", "discount_impressions", 0)
        ]
        of = story_table(NINE, promotions=[{"id": "p", "story": "s8"}])
        ctx = context(of, settings=settings)
        ctx.trace.watched_row = of.row("s8")
        PIPELINE.build(ctx)
        moves = [(move["step"], move["reason"], move["from"], move["to"]) for move in ctx.trace.watched["moves"]]
        assert moves == [("promoted", "promoted", 8, 0), ("blend", "promoted", 0, 4)], "set aside, then put at its slot"
        assert ctx.trace.stages[-2].parts == {"promoted": 1}

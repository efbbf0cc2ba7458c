"""What a newcomer's component has to say of itself, and that the pipeline, which knows none by name, keeps its promises with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import numpy as np
import pytest

from features.arrays import I32, Bools
from features.errors import BadInput
from features.keys import hash64
from features.registry import FEATURES
from online import components
from online.columns import Candidates, Rows
from online.components import Components, default_components
from online.context import Context
from online.feed.presenting import items
from online.pipeline import Pipeline
from online.protocols import AskedAgain, Provider, Timeless
from online.rankers.weighted import WEIGHTS, Weighted
from online.service_settings import OnlineSettings
from online.story_table.table import StoryTable
from online.user.user import EdgeChange, User
from tests.online.small_world import context, story_table

OLD_H = 24 * 30.0
"""Too old to come as fresh."""


class PublicationsOfFollowed(Provider):
    """Everything in publications with a story of a followed author: brought, grouped, told and taken back by this class alone."""

    name = "publications_of_followed"
    reason = "{publication} publishes an author you follow"
    group = "history"

    def rows(self, ctx: Context) -> Rows:
        return np.flatnonzero(self._near(ctx)).astype(np.int32)

    def reason_for(self, user: User, row: int) -> str:
        table = user.story_table
        return self.reason.format(publication=table.publications.id(int(table.publication[row])))

    def holds(self, ctx: Context, entries: Candidates) -> Bools:
        return self._near(ctx).take(entries.rows)

    def _near(self, ctx: Context) -> Bools:
        table = ctx.story_table
        followed = np.isin(table.author, ctx.user.targets("follow", "author"))
        return np.isin(table.publication, table.publication[followed])


class Backwards:
    """Scores anew, leaves some out and turns the list around: whatever a postprocessor may do."""

    name = "backwards"

    def apply(self, ctx: Context, ranked: Candidates) -> Candidates:
        kept = ranked.take(np.flatnonzero(ranked.rows % 7 != 3)[::-1])
        kept.columns["score"] = -kept.columns["score"]
        return kept


class Forgetful:
    name = "forgetful"

    def apply(self, ctx: Context, ranked: Candidates) -> Candidates:
        return Candidates(ranked.rows, ranked.sources, {"score": ranked.columns["score"]})


class Half:
    """A rule that does not say until when its verdicts hold."""

    name = "half"

    def drops(self, ctx: Context, candidates: Candidates) -> None:
        return None


class Twice:
    """A postprocessor that shows everything two times."""

    name = "twice"

    def apply(self, ctx: Context, ranked: Candidates) -> Candidates:
        return ranked.take(np.repeat(np.arange(len(ranked)), 2))


class Banned(AskedAgain):
    """A rule with a list of its own, which no snapshot and no state of a user holds."""

    name = "banned"
    stories: ClassVar[set[int]] = set()

    def drops(self, ctx: Context, candidates: Candidates) -> Bools:
        return np.isin(candidates.rows, list(self.stories))


class InNumbers(Timeless):
    """A rule that says 0 and 1."""

    name = "in_numbers"

    def drops(self, ctx: Context, candidates: Candidates) -> Any:
        return np.ones(len(candidates), np.int64)


class NothingInFloats(Provider):
    """Brings what NumPy takes for an empty list."""

    name = "nothing_in_floats"
    reason = "By chance"

    def rows(self, ctx: Context) -> Any:
        return np.array([])


class NoArguments:
    def __init__(self, needed: int) -> None:
        self.needed = needed


@pytest.fixture
def plugged_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Puts classes of this module behind entry points, as installed packages would."""

    def plug(kind: str, *classes: type) -> Components:
        found = [EntryPoint(one.__name__, f"{__name__}:{one.__name__}", f"rex.{kind}") for one in classes]
        monkeypatch.setattr(components, "entry_points", lambda group: found if group == f"rex.{kind}" else [])
        components._plugged_in.cache_clear()
        return default_components()

    yield plug
    components._plugged_in.cache_clear()


class TestANewProvider:
    STORIES = (
        {"id": "s-mine", "author": "a-mine", "publication": "p-ours", "age_h": OLD_H},
        {"id": "s-near", "author": "a-other", "publication": "p-ours", "age_h": OLD_H},
        {"id": "s-far", "author": "a-far", "publication": "p-far", "age_h": OLD_H},
    )

    def test_its_stories_come_for_the_reason_that_it_gives(self, plugged_in: Any) -> None:
        made_by = Pipeline(plugged_in("providers", PublicationsOfFollowed), lambda ctx, slate: None)
        ctx = context(story_table(list(self.STORIES)), follow_author=["a-mine"])
        told = {item["story_id"]: item for item in items(ctx, made_by.read(ctx, made_by.build(ctx), 0, 9).entries, 0)}
        assert {story_id: item["reason"] for story_id, item in told.items()} == {
            "s-mine": "From an author you follow",
            "s-near": "p-ours publishes an author you follow",
        }
        assert told["s-near"]["sources"] == ["publications_of_followed"]

    def test_what_came_for_it_goes_when_it_holds_no_longer(self, plugged_in: Any) -> None:
        made_by = Pipeline(plugged_in("providers", PublicationsOfFollowed), lambda ctx, slate: None)
        table = story_table(list(self.STORIES))
        ctx = context(table, follow_author=["a-mine"])
        slate = made_by.build(ctx)
        unfollowed = EdgeChange("follow", "author", hash64("a-mine"), False)
        later = context(table, changes=[unfollowed], follow_author=["a-mine"])
        page = made_by.read(later, slate, 0, 9)
        assert (len(page.entries), page.dropped) == (0, {"source_ended": 2})

    def test_its_group_has_the_share_of_a_block_that_is_set(self, plugged_in: Any) -> None:
        near = [{"id": f"n{i}", "author": f"b{i}", "publication": "p-ours", "age_h": OLD_H} for i in range(9)]
        fresh = [{"id": f"f{i}", "author": f"c{i}", "story_open_rate": 1.0} for i in range(40)]
        mine = {"id": "s-mine", "author": "a-mine", "publication": "p-ours", "age_h": OLD_H}
        shares = {"share_followed": 0.0, "share_topics": 0.0, "share_history": 0.3, "share_discovery": 0.0}
        caps = {"max_per_publication": 10, "page_block": 10, "new_author_share": 0.0, "explore_share": 0.0}
        made_by = Pipeline(plugged_in("providers", PublicationsOfFollowed), lambda ctx, slate: None)
        table = story_table([*near, *fresh, mine])
        ctx = context(table, settings=OnlineSettings(postprocess=shares | caps), follow_author=["a-mine"])
        slate = made_by.build(ctx)
        first = [table.story_id(int(row)) for row in table.by_hash.find(slate.stories[:10])]
        assert sum(story_id.startswith("n") for story_id in first) == 3


@pytest.fixture(scope="module")
def table() -> StoryTable:
    read = {"story_popularity": 5.0}
    stories = [
        {"id": f"s{i:03}", "author": f"a{i % 60}", "publication": f"p{i % 20}", "story_open_rate": i / 300, **read}
        for i in range(180)
    ]
    fresh = [{"id": f"f{i:03}", "author": f"b{i}", "story_popularity": 0.0} for i in range(60)]
    ads = [{"id": f"ad{i}", "author": f"c{i}", "age_h": OLD_H} for i in range(3)]
    promotions = [{"id": f"p{i}", "story": f"ad{i}"} for i in range(3)]
    return story_table([*stories, *fresh, *ads], promotions=promotions)


class TestAPluggedInPostprocessor:
    """It stands before the blend, so that the list is one that the blend has made, whatever the plug-in did."""

    SETTINGS = OnlineSettings(
        postprocess={
            "page_block": 10,
            "promoted_slots": (2, 6),
            "max_promoted": 3,
            "explore_share": 0.1,
            "max_per_author": 1,
            "max_per_publication": 3,
        },
        cache={"slate_size": 50},
    )

    def test_slots_caps_and_propensities_hold(self, plugged_in: Any, table: StoryTable) -> None:
        plain = Pipeline(default_components(), lambda ctx, slate: None)
        usual = plain.build(context(table, settings=self.SETTINGS))
        made_by = Pipeline(plugged_in("postprocessors", Backwards), lambda ctx, slate: None)
        ctx = context(table, settings=self.SETTINGS)
        slate = made_by.build(ctx)
        assert ctx.trace.stages[-2].dropped["backwards"]
        assert slate.stories.tolist() != usual.stories.tolist()

        placed = np.flatnonzero(slate.promotions).tolist()
        assert placed
        assert placed == [2, 6, 12][: len(placed)]
        rows = table.by_hash.find(slate.stories)
        for start in range(0, len(slate), 10):
            block = rows[start : start + 10]
            assert max(Counter(table.author[block].tolist()).values()) == 1
            assert max(Counter(table.publication[block[table.publication[block] >= 0]].tolist()).values()) <= 3
        drawn = np.flatnonzero(slate.propensities < 1)
        assert drawn.tolist() == [5, 15, 25, 35, 45]
        assert all(table.story_id(int(row)).startswith("f") for row in rows[drawn])
        # Of the fresh stories those that the plug-in left in take part, one less at each draw.
        left = sum(row % 7 != 3 and table.story_id(row).startswith("f") for row in range(len(table)))
        above = [sum(table.story_id(int(row)).startswith("f") for row in rows[:at]) for at in drawn]
        assert slate.propensities[drawn] == pytest.approx([1 / (left - n) for n in above])

    def test_one_that_loses_a_column_fails_the_request(self, plugged_in: Any, table: StoryTable) -> None:
        made_by = Pipeline(plugged_in("postprocessors", Forgetful), lambda ctx, slate: None)
        with pytest.raises(ValueError, match=r"forgetful lost the columns .*promotion, .*slot.*; use Candidates\.take"):
            made_by.build(context(table, settings=self.SETTINGS))


class TestAnnotators:
    def test_every_registered_feature_has_one_and_nothing_else_is_computed(self) -> None:
        computed = Counter(name for annotator in default_components().annotators for name in annotator.features)
        assert computed == Counter(feature.name for feature in FEATURES)


class TestSelectors:
    def test_one_keeps_what_the_ranking_left_out(self) -> None:
        class Worst:
            name = "worst"

            def also(self, ctx: Context, scored: Candidates, kept: I32) -> I32:
                return np.setdiff1d(scored.columns["score"].argsort()[:1].astype(np.int32), kept)

        stories = [{"id": f"s{i}", "author": f"a{i}", "story_open_rate": i / 10} for i in range(9)]
        settings = OnlineSettings(cache={"slate_size": 2}, postprocess={"explore_share": 0.0})
        kept = []
        for selectors in ((), (Worst(),)):
            ctx = context(story_table(stories), settings=settings)
            made_by = Pipeline(replace(default_components(), selectors=selectors), lambda ctx, slate: None)
            made_by.build(ctx)
            kept.append(ctx.trace.stages[3].given)
        assert kept == [4, 5]


class Steeper(Weighted):
    def __init__(self) -> None:
        super().__init__(WEIGHTS, "steeper")


class Flatter(Weighted):
    def __init__(self) -> None:
        super().__init__(WEIGHTS, "flatter")


class TestPlugIns:
    def test_a_ranker_takes_the_place_of_the_snapshots(self, plugged_in: Any) -> None:
        assert plugged_in("rankers", Steeper).ranker.name == "steeper"

    def test_two_rankers_are_refused(self, plugged_in: Any) -> None:
        with pytest.raises(BadInput, match=r"bring a ranker \(flatter, steeper\); install one of them"):
            plugged_in("rankers", Steeper, Flatter)

    def test_one_without_what_its_kind_must_have_is_named_with_what_it_lacks(self, plugged_in: Any) -> None:
        with pytest.raises(BadInput, match=r"Half = .*:Half \(entry point group rex\.rules\) lacks until; see Rule in"):
            plugged_in("rules", Half)

    def test_one_that_cannot_be_made_is_named_with_the_reason(self, plugged_in: Any) -> None:
        with pytest.raises(BadInput, match=r"rex\.validators\) cannot be loaded: .*'needed'"):
            plugged_in("validators", NoArguments)


class TestWhatAComponentMustNot:
    TABLE = story_table([{"id": f"s{i}", "author": f"a{i}"} for i in range(9)])

    def test_a_rule_with_a_list_of_its_own_is_asked_on_every_page(self, plugged_in: Any) -> None:
        made_by = Pipeline(plugged_in("rules", Banned), lambda ctx, slate: None)
        ctx = context(self.TABLE)
        slate = made_by.build(ctx)
        assert len(made_by.read(ctx, slate, 0, 9).entries) == 9
        Banned.stories = {int(self.TABLE.by_hash.find(slate.stories[:1])[0])}
        assert made_by.read(ctx, slate, 0, 9).dropped == {"banned": 1}

    def test_a_postprocessor_that_repeats_stories_fails_the_request(self, plugged_in: Any) -> None:
        with pytest.raises(ValueError, match="twice repeated candidates"):
            Pipeline(plugged_in("postprocessors", Twice), lambda ctx, slate: None).build(context(self.TABLE))

    def test_a_rule_that_does_not_say_yes_or_no_fails_the_request(self, plugged_in: Any) -> None:
        with pytest.raises(TypeError, match=r"in_numbers said int64\[9\] of 9 candidates; it has to be bool\[9\]"):
            Pipeline(plugged_in("rules", InNumbers), lambda ctx, slate: None).build(context(self.TABLE))

    def test_a_provider_that_brings_no_rows_at_all_is_left_out(self, plugged_in: Any) -> None:
        made_by = Pipeline(plugged_in("providers", NothingInFloats), lambda ctx, slate: None)
        ctx = context(self.TABLE, settings=OnlineSettings(strict=False))
        assert (len(made_by.build(ctx)), ctx.trace.degraded) == (9, ["nothing_in_floats"])

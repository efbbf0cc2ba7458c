"""The seven stages over small story tables: the funnel adds up, failures degrade or refuse, lists are diverse and stable."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.drawn_model import drawn_model
from features.errors import Unavailable
from features.keys import hash64
from online.components import default_components
from online.context import Context
from online.feed.presenting import items
from online.pipeline import Pipeline
from online.protocols import Provider
from online.rankers.learned import Learned
from online.rankers.protocol import Degrade, refused
from online.rankers.weighted import Weighted
from online.service_settings import OnlineSettings
from online.slates.slate import Slate
from online.story_table.updates import updated
from online.user.user import EdgeChange
from tests.online.small_world import context, ids, story_table

SMALL_PAGES = OnlineSettings(
    postprocess={"page_block": 4, "max_per_author": 1, "max_per_publication": 2}, cache={"slate_size": 50}
)


def pipeline(**changes: Any) -> Pipeline:
    return Pipeline(replace(default_components(), **changes), lambda ctx, slate: None)


def feed(ctx: Context, made_by: Pipeline | None = None, limit: int = 20) -> list[str]:
    made_by = made_by or pipeline()
    return ids(ctx.story_table, made_by.read(ctx, made_by.build(ctx), 0, limit).entries)


def many(n: int = 40) -> list[dict[str, Any]]:
    """Stories of three authors and two publications, one an hour."""
    return [
        {
            "id": f"s{i:02}",
            "author": f"a{i % 3}",
            "publication": f"p{i % 2}",
            "topics": [f"t{i % 5}"],
            "age_h": float(i + 1),
        }
        for i in range(n)
    ]


def test_what_goes_in_and_is_not_dropped_comes_out_of_every_stage() -> None:
    ctx = context(story_table(many()), mute_author=["a0"], read=["s01", "s02"], read_at=[1, 2])
    pipeline().build(ctx)
    stages = {report.stage: report for report in ctx.trace.stages}
    assert list(stages) == ["aggregate", "preprocess", "annotate", "rank", "postprocess", "cache"]
    assert stages["aggregate"].given == 40
    assert stages["preprocess"].dropped == {
        "muted": 14,
        "already_read": 2,
    }  # s00, s03 … s39 are by a0; s01, s02 are not
    for before, after in zip(list(stages.values()), list(stages.values())[1:], strict=False):
        assert after.taken == before.given
        assert after.taken - sum(after.dropped.values()) == after.given


def test_a_follow_lifts_the_authors_stories_and_is_told_as_the_reason() -> None:
    ctx = context(story_table(many()), follow_author=["a2"])
    made_by = pipeline()
    page = made_by.read(ctx, made_by.build(ctx), 0, 2)
    told = items(ctx, page.entries, 0)
    assert [item["author_id"] for item in told] == ["a2", "a2"]
    assert {item["reason"] for item in told} == {"From an author you follow"}
    assert told[0]["sources"] == ["followed_authors", "timeline", "fresh_stories"]


def test_the_reason_names_the_followed_topic_and_publication() -> None:
    stories = [{"id": "s-topic", "topics": ["t-x", "t-mine"]}, {"id": "s-publication", "publication": "p-mine"}]
    ctx = context(story_table(stories), follow_topic=["t-mine"], follow_publication=["p-mine"])
    made_by = pipeline()
    told = items(ctx, made_by.read(ctx, made_by.build(ctx), 0, 5).entries, 0)
    reasons = {item["story_id"]: item["reason"] for item in told}
    assert reasons == {"s-topic": "About t-mine, which you follow", "s-publication": "From p-mine, which you follow"}


def test_every_item_has_a_reason_and_a_source_also_for_a_newcomer() -> None:
    ctx = context(story_table(many()))
    made_by = pipeline()
    told = items(ctx, made_by.read(ctx, made_by.build(ctx), 0, 20).entries, 7)
    assert len(told) == 20
    assert all(item["reason"] and item["sources"] for item in told)
    assert [item["position"] for item in told] == list(range(7, 27))


def test_reading_history_brings_positive_products_only() -> None:
    stories = [
        {"id": "s-liked", "vector": [1.0, 0.0], "age_h": 24 * 30.0},  # too old to come as fresh
        {"id": "s-disliked", "vector": [-1.0, 0.0], "age_h": 24 * 30.0},
    ]
    assert feed(context(story_table(stories), vector=np.array([0.5, 0.0]))) == ["s-liked"]


def test_similar_stories_come_from_reads_made_after_the_snapshot_too() -> None:
    from tests.online.test_rules import interactions

    stories = [
        {"id": "s-read", "similar": [("s-neighbour", 0.8)], "age_h": 24 * 30.0},
        {"id": "s-neighbour", "age_h": 24 * 30.0},
    ]
    assert feed(context(story_table(stories))) == []
    assert feed(context(story_table(stories), interactions=interactions(read="s-read"))) == ["s-neighbour"]


def test_trending_is_that_of_the_readers_languages() -> None:
    stories = [{"id": f"s-{lang}", "language": lang, "age_h": 24 * 30.0} for lang in ("en", "pt")]
    top = [("en", "s-en"), ("pt", "s-pt"), (None, "s-pt"), (None, "s-en")]
    assert feed(context(story_table(stories, top), languages=["en"])) == ["s-en"]
    assert set(feed(context(story_table(stories, top)))) == {"s-en", "s-pt"}


def test_near_duplicates_collapse_into_the_better_one() -> None:
    stories = [
        {"id": "s-copy", "duplicate_key": 7, "story_open_rate": 0.1},
        {"id": "s-original", "duplicate_key": 7, "story_open_rate": 0.9},
        {"id": "s-other", "story_open_rate": 0.5},
    ]
    assert feed(context(story_table(stories))) == ["s-original", "s-other"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.floats(0, 1)), min_size=1, max_size=40))
def test_diversity_loses_nothing_and_keeps_its_caps_wherever_they_can_be_kept(
    made: list[tuple[int, int, float]],
) -> None:
    stories = [
        {"id": f"s{i:02}", "author": f"a{author}", "publication": f"p{publication}", "story_open_rate": rate}
        for i, (author, publication, rate) in enumerate(made)
    ]
    ctx = context(story_table(stories), settings=SMALL_PAGES)
    slate = pipeline().build(ctx)
    rows = ctx.story_table.by_hash.find(slate.stories)
    assert sorted(ids(ctx.story_table, pipeline().read(ctx, slate, 0, 50).entries)) == sorted(s["id"] for s in stories)
    left = rows.tolist()
    while left:
        block, rest = left[:4], left[4:]
        authors = Counter(int(ctx.story_table.author[row]) for row in block)
        if max(authors.values()) > 1:  # relaxed: then no story of an author absent from the block was left over
            assert {int(ctx.story_table.author[row]) for row in rest} <= set(authors)
        publications = Counter(int(ctx.story_table.publication[row]) for row in block)
        if max(publications.values()) > 2 and max(authors.values()) == 1:
            admitted = [r for r in rest if int(ctx.story_table.author[r]) not in authors]
            assert all(publications[int(ctx.story_table.publication[row])] >= 2 for row in admitted)
        left = rest


class Broken(Provider):
    """A component that fails, whatever it is asked."""

    name = "broken"
    reason = "never told"
    features = ("recency",)

    def rows(self, ctx: Context) -> slice:
        raise OSError("gone")

    def columns(self, ctx: Context, candidates: Any) -> Any:
        raise OSError("gone")

    def drops(self, ctx: Context, candidates: Any) -> Any:
        raise OSError("mutes cannot be read")


def test_a_failing_provider_is_left_out_and_named() -> None:
    ctx = context(story_table(many()), settings=OnlineSettings(strict=False))
    made_by = pipeline(providers=(Broken(), *default_components().providers))
    slate = made_by.build(ctx)
    assert (len(slate), slate.info.degraded) == (40, ("broken",))


def test_a_failing_annotator_leaves_defaults_and_is_named() -> None:
    ctx = context(story_table(many()), settings=OnlineSettings(strict=False))
    others = tuple(a for a in default_components().annotators if a.name != "recency")
    slate = pipeline(annotators=(*others, Broken())).build(ctx)
    assert (len(slate), slate.info.degraded) == (40, ("broken",))


@pytest.mark.parametrize("broken", ["provider", "annotator", "ranker"])
def test_a_strict_request_takes_no_answer_without_a_part(broken: str) -> None:
    """What is measured must be whole: a figure of a degraded pipeline is a figure of something else."""

    class BrokenModels:
        def probabilities(self, columns: Any, n: int) -> Any:
            raise OSError("gone")

    defaults, ranker = default_components(), None
    parts: dict[str, Any] = {}
    if broken == "provider":
        parts = {"providers": (Broken(), *defaults.providers)}
    elif broken == "annotator":
        parts = {"annotators": (*defaults.annotators, Broken())}
    else:
        ranker = Learned(Weighted(), drawn_model(), "learned", 100, BrokenModels())
    for strict, fails in ((False, nullcontext()), (True, pytest.raises(Unavailable, match=r"failed.*strict.*gone"))):
        ctx = context(story_table(many()), settings=OnlineSettings(strict=strict), ranker=ranker)
        with fails:
            assert pipeline(**parts).build(ctx).info.degraded


def test_a_failing_rule_refuses_the_request_because_privacy_fails_closed() -> None:
    made_by = pipeline(rules=(*default_components().rules, Broken()))
    with pytest.raises(OSError, match="mutes cannot be read"):
        made_by.build(context(story_table(many())))


def test_equal_snapshot_state_and_now_give_equal_bytes() -> None:
    slates = [pipeline().build(context(story_table(many()), follow_author=["a1"])) for _ in range(2)]
    assert slates[0].encode() == slates[1].encode()
    other = pipeline().build(context(story_table(many()), user_id="u-other", follow_author=["a1"]))
    assert other.info.id != slates[0].info.id


def test_pages_of_one_slate_partition_it() -> None:
    ctx = context(story_table(many()))
    made_by = pipeline()
    slate = made_by.build(ctx)
    seen: list[str] = []
    start: int | None = 0
    while start is not None:
        page = made_by.read(ctx, slate, start, 7)
        seen += ids(ctx.story_table, page.entries)
        start = page.next_index
    assert sorted(seen) == sorted(story["id"] for story in many())


def read_again(slate: Slate, **known: Any) -> tuple[list[str], dict[str, int], Context]:
    ctx = context(story_table(many(6)), **known)
    page = pipeline().read(ctx, slate, 0, 20)
    return ids(ctx.story_table, page.entries), ctx.trace.stages[-1].dropped, ctx


def test_a_mute_after_the_slate_was_built_drops_its_entries_on_the_next_read() -> None:
    slate = pipeline().build(context(story_table(many(6))))
    muted = EdgeChange("mute", "author", hash64("a1"), True)
    left, dropped, _ = read_again(slate, changes=[muted])
    assert sorted(left) == ["s00", "s02", "s03", "s05"]
    assert dropped == {"muted": 2}


def test_a_withdrawal_after_the_slate_was_built_drops_its_entry_and_the_tail_fills_the_page() -> None:
    built = context(story_table(many(6)))
    slate = pipeline().build(built)
    first = ids(built.story_table, pipeline().read(built, slate, 0, 3).entries)
    change = {"story_id": first[0], "published_at": "2026-01-30T00:00:00Z", "deleted_at": "2026-01-31T00:00:00Z"}
    fields = {b"story": orjson.dumps(change)}
    ctx = context(updated(built.story_table, [(b"1-0", fields)]))
    page = pipeline().read(ctx, slate, 0, 3)
    assert ids(ctx.story_table, page.entries)[:2] == first[1:]
    assert len(page.entries) == 3


def test_an_unfollow_drops_what_came_for_the_follow_until_a_new_slate_brings_it_for_another_reason() -> None:
    stories = [
        {
            "id": "s-only-followed",
            "author": "a-mine",
            "age_h": 24 * 30.0,
        },  # too old to be fresh: came by the follow alone
        {"id": "s-also-fresh", "author": "a-mine"},
    ]
    slate = pipeline().build(context(story_table(stories), follow_author=["a-mine"]))
    assert len(slate) == 2
    ctx = context(
        story_table(stories),
        follow_author=["a-mine"],
        changes=[EdgeChange("follow", "author", hash64("a-mine"), False)],
    )
    made_by = pipeline()
    page = made_by.read(ctx, slate, 0, 20)
    told = items(ctx, page.entries, 0)
    assert told == []
    assert ctx.trace.stages[-1].dropped == {"source_ended": 2}
    anew = made_by.build(context(story_table(stories)))
    page = made_by.read(context(story_table(stories)), anew, 0, 20)
    told = items(ctx, page.entries, 0)
    assert [(item["story_id"], item["reason"]) for item in told] == [("s-also-fresh", "Just published")]


def test_a_ranker_whose_features_nobody_provides_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="recency"):
        pipeline(annotators=tuple(a for a in default_components().annotators if a.name != "recency"))


class Crooked(Broken):
    """An annotator whose column is too short, and a provider that brings rows the table does not have."""

    def rows(self, ctx: Context) -> Any:
        return np.array([10**6], np.int32)

    def columns(self, ctx: Context, candidates: Any) -> Any:
        return {"recency": np.zeros(3, np.float32)}


def test_impossible_rows_and_columns_are_left_out_and_named() -> None:
    defaults = default_components()
    others = tuple(a for a in defaults.annotators if a.name != "recency")
    made_by = pipeline(providers=(Crooked(), *defaults.providers), annotators=(*others, Crooked()))
    slate = made_by.build(context(story_table(many()), settings=OnlineSettings(strict=False)))
    assert (len(slate), slate.info.degraded) == (40, ("broken", "broken"))


def test_scores_that_are_no_numbers_rank_last() -> None:
    class Odd(Weighted):
        def score(self, columns: Any, n: int, degrade: Degrade = refused) -> Any:
            scores = super().score(columns, n, degrade)
            scores[:5] = np.nan
            return scores

    slate = pipeline().build(
        context(story_table(many()), settings=OnlineSettings(cache={"slate_size": 10}), ranker=Odd())
    )
    assert len(slate) == 10
    assert np.isfinite(slate.scores).all()
    assert slate.scores.min() > -1e30


def test_an_empty_world_gives_an_empty_page_also_to_followers() -> None:
    assert feed(context(story_table([]), follow_author=["a1"], follow_topic=["t1"])) == []


def test_a_pipeline_without_the_follow_providers_works() -> None:
    providers = tuple(p for p in default_components().providers if not p.name.startswith("followed_"))
    assert len(feed(context(story_table(many())), pipeline(providers=providers))) == 20

"""Reading a slate: whatever drops, the page is filled from what follows, and every drop is counted once per pagination session."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.keys import hash64
from features.times import HOUR_US
from online.columns import Bits, Candidates
from online.components import default_components
from online.context import Context
from online.feed.presenting import items
from online.pipeline import Pipeline
from online.protocols import FOREVER_US, Timeless
from online.service_settings import OnlineSettings
from online.slates.pagination_session import PaginationSession
from online.slates.slate import ORGANIC, Slate, Watermark
from online.slates.slate_making import slate_of
from online.story_table.updates import updated
from online.user.user import EdgeChange, User
from online.validators.page import all_suitable, suitable, until_us
from tests.online.small_world import context, everything, ids, story_table
from tests.online.test_rules import interactions

N = 120
WORLD = story_table([{"id": f"s{i:03}", "age_h": float(N - i)} for i in range(N)])


class Refusing(Timeless):
    """A validator that takes the given source bits from the given rows."""

    def __init__(self, name: str, rows: set[int], mask: int = 0) -> None:
        self.name = name
        self._rows = np.array(sorted(rows), np.int32)
        self._mask = np.uint32(mask)

    def sources(self, ctx: Context, entries: Candidates) -> Bits:
        return np.where(np.isin(entries.rows, self._rows), entries.sources & self._mask, entries.sources)


def whole_slate(ctx: Context, sources: int = 3) -> Slate:
    """Every story, in the order of the table, brought by providers 0 and 1."""
    found = everything(ctx.story_table)
    ranked = Candidates(found.rows, np.full(len(found), sources, np.uint32), {"score": np.ones(len(found), np.float32)})
    return slate_of(ctx, ranked, len(found))


EVERYTHING = (context(WORLD), whole_slate(context(WORLD)))
rows = st.sets(st.integers(0, N - 1))


@settings(max_examples=150, deadline=None)
@given(gone=rows, clipped=rows, twice=rows, limit=st.integers(1, 100), start=st.integers(0, N))
def test_pages_are_what_one_look_at_every_entry_would_give(
    gone: set[int], clipped: set[int], twice: set[int], limit: int, start: int
) -> None:
    ctx, slate = EVERYTHING
    validators = (Refusing("gone", gone), Refusing("clipped", clipped, mask=1), Refusing("clipped_too", twice, mask=2))
    page = suitable(ctx, validators, slate, start, limit)
    sources = [0 if i in gone else (1 if i in clipped else 3) & (2 if i in twice else 3) for i in range(N)]
    left = [i for i in range(start, N) if sources[i]]
    assert page.entries.columns["index"].tolist() == left[:limit]
    assert page.entries.sources.tolist() == [sources[i] for i in left[:limit]]
    assert page.next_index == (left[limit] if len(left) > limit else None)
    end = N if page.next_index is None else page.next_index
    consumed = range(start, max(start, end))
    counted = {
        "gone": sum(i in gone for i in consumed),
        "clipped_too": sum(i not in gone and i in clipped and i in twice for i in consumed),
    }
    assert page.dropped == {name: n for name, n in counted.items() if n}
    assert page.looked_at == len(consumed)
    assert page.looked_at - sum(page.dropped.values()) == len(page.entries)


def test_the_pages_of_a_session_count_every_drop_once() -> None:
    gone = set(range(0, N, 3))
    ctx = context(WORLD)
    slate, dropped, start = whole_slate(ctx), 0, 0
    delivered: list[str] = []
    while start is not None:
        page = suitable(ctx, (Refusing("gone", gone),), slate, start, 7)
        dropped += page.dropped.get("gone", 0)
        delivered += ids(WORLD, page.entries)
        start = page.next_index  # type: ignore[assignment]
    assert dropped == len(gone)
    assert delivered == [f"s{i:03}" for i in range(N) if i not in gone]


def test_a_story_that_left_the_snapshot_drops_under_that_name() -> None:
    ctx = context(WORLD)
    slate = whole_slate(ctx)
    smaller = context(story_table([{"id": f"s{i:03}", "age_h": float(N - i)} for i in range(N) if i != 5]))
    page = suitable(smaller, (), slate, 0, 10)
    assert ids(smaller.story_table, page.entries) == [f"s{i:03}" for i in range(11) if i != 5]
    assert page.dropped == {"not_in_snapshot": 1}


STORY = {"id": "s-one", "author": "a-one", "publication": "p-one", "topics": ["t-one"], "age_h": 24 * 30.0}
"""Too old to come as fresh: without a follow nothing brings it."""


def built(**known: Any) -> tuple[Pipeline, Slate]:
    made_by = Pipeline(default_components(), lambda ctx, slate: None)
    return made_by, made_by.build(context(story_table([STORY]), **known))


def told(made_by: Pipeline, ctx: Context, slate: Slate) -> tuple[list[dict[str, Any]], dict[str, int]]:
    page = made_by.read(ctx, slate, 0, 10)
    return items(ctx, page.entries, 0), page.dropped


FOLLOWS: dict[str, Any] = {"follow_author": ["a-one"], "follow_publication": ["p-one"], "follow_topic": ["t-one"]}


@pytest.mark.parametrize(
    ("given_up", "left", "reason"),
    [
        ({"author"}, ["followed_publications", "timeline", "followed_topics"], "From p-one, which you follow"),
        ({"author", "publication"}, ["followed_topics"], "About t-one, which you follow"),
        ({"publication"}, ["followed_authors", "timeline", "followed_topics"], "From an author you follow"),
        ({"topic"}, ["followed_authors", "followed_publications", "timeline"], "From an author you follow"),
        ({"author", "publication", "topic"}, None, None),
    ],
)
def test_reasons_that_no_longer_hold_are_cleared_and_the_rest_told_anew(
    given_up: set[str], left: list[str] | None, reason: str | None
) -> None:
    made_by, slate = built(**FOLLOWS)
    ids_of = {"author": "a-one", "publication": "p-one", "topic": "t-one"}
    changes = [EdgeChange("follow", kind, hash64(ids_of[kind]), False) for kind in sorted(given_up)]
    shown, dropped = told(made_by, context(story_table([STORY]), changes=changes, **FOLLOWS), slate)
    if left is None:
        assert (shown, dropped) == ([], {"source_ended": 1})
    else:
        assert [(item["sources"], item["reason"]) for item in shown] == [(left, reason)]
        assert dropped == {}


@pytest.mark.parametrize(
    ("since", "reason"),
    [
        ({"changes": [EdgeChange("mute", "author", hash64("a-one"), True)]}, "muted"),
        ({"changes": [EdgeChange("block", "topic", hash64("t-one"), True)]}, "blocked"),
        ({"interactions": interactions(read="s-one")}, "already_read"),
        ({"changes": [EdgeChange("hide", "story", hash64("s-one"), True)]}, "hidden"),
        ({"changes": [EdgeChange("report", "story", hash64("s-one"), True)]}, "reported"),
    ],
)
def test_what_the_reader_did_since_drops_the_entry_under_its_rule(since: dict[str, Any], reason: str) -> None:
    made_by, slate = built(**FOLLOWS)
    assert len(slate) == 1
    assert told(made_by, context(story_table([STORY]), **FOLLOWS, **since), slate) == ([], {reason: 1})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"deleted_at": "2026-01-31T00:00:00Z"}, "withdrawn"),
        ({"visibility": "unlisted"}, "visibility"),
        ({"members_only": True}, "members_only"),
    ],
)
def test_what_became_of_the_story_since_drops_the_entry_under_its_rule(change: dict[str, Any], reason: str) -> None:
    made_by, slate = built(**FOLLOWS)
    now = context(story_table([STORY]), **FOLLOWS)
    document = {"story_id": "s-one", "author_id": "a-one", "published_at": "2026-01-01T12:00:00Z", "topics": ["t-one"]}
    changed = updated(
        now.story_table, [(b"1-0", {b"story": orjson.dumps({**document, "publication_id": "p-one", **change})})]
    )
    ctx = context(changed, **FOLLOWS)
    assert told(made_by, ctx, slate) == ([], {reason: 1})


def test_a_followers_only_story_is_gone_for_who_has_unfollowed_its_author() -> None:
    story = {**STORY, "visibility": "followers"}
    made_by = Pipeline(default_components(), lambda ctx, slate: None)
    slate = made_by.build(context(story_table([story]), **FOLLOWS))
    assert len(slate) == 1
    unfollowed = EdgeChange("follow", "author", hash64("a-one"), False)
    assert told(made_by, context(story_table([story]), changes=[unfollowed], **FOLLOWS), slate) == (
        [],
        {"visibility": 1},
    )


VALIDATORS = default_components().validators
DAY_OLD = OnlineSettings(preprocess={"max_age_d": 1.0})
RUNNING_H = [(-2.0, 3.0), (1.0, 0.5), (3.0, 2.0), (0.5, 0.5)]
"""Hours since a promotion began, and until it ends."""
DATED = context(
    story_table(
        [{"id": f"s{age}", "age_h": age} for age in (None, *map(float, range(-30, 31, 3)))],
        promotions=[
            {"id": f"p{i}", "story": f"s{3.0 * i}", "started_h": began, "ends_in_h": ends}
            for i, (began, ends) in enumerate(RUNNING_H)
        ],
    ),
    settings=DAY_OLD,
)
"""Hours are counted from its `now`."""


@settings(max_examples=100, deadline=None)
@given(
    st.sets(st.integers(0, len(DATED.story_table) - 1), min_size=1),
    st.booleans(),
    st.integers(-40, 40),
    st.floats(0, 1),
)
def test_a_page_is_the_same_until_the_moment_that_it_names_and_no_longer(
    rows: set[int], continued: bool, hours: int, share: float
) -> None:
    ctx = replace(DATED, now_us=DATED.now_us + hours * HOUR_US)
    if continued:
        mark = Watermark(DATED.now_us - 2 * HOUR_US, "s", 0)
        ctx = replace(ctx, pagination_session=PaginationSession("0" * 24, np.empty(0, np.int64), mark))
    table = ctx.story_table
    placed = np.full(len(table), ORGANIC, np.int64)
    placed[table.promotions.rows] = table.promotions.hashes
    at = np.array(sorted(rows))
    slate = whole_slate(ctx)
    slate = Slate(slate.info, slate.stories[at], slate.scores[at], slate.sources[at], placed[at])

    def verdicts(now_us: int) -> list[list[int]]:
        held = [validator.sources(replace(ctx, now_us=now_us), entries) for validator in VALIDATORS]
        return [(entries.sources if one is None else one).tolist() for one in held]

    entries = Candidates(at.astype(np.int32), slate.sources, {"promotion": slate.promotions})
    page, until = suitable(ctx, VALIDATORS, slate, 0, 100), until_us(ctx, VALIDATORS, entries)
    assert until > ctx.now_us
    last = min(until - 1, ctx.now_us + 99 * HOUR_US)
    for now_us in (last, ctx.now_us + round(share * (last - ctx.now_us))):
        again = suitable(replace(ctx, now_us=now_us), VALIDATORS, slate, 0, 100)
        assert (again.entries.rows.tolist(), again.dropped) == (page.entries.rows.tolist(), page.dropped)
        assert until_us(replace(ctx, now_us=now_us), VALIDATORS, entries) == until
    if until < FOREVER_US:
        assert verdicts(until) != verdicts(ctx.now_us)


def test_an_undated_page_without_promotions_never_changes_by_itself() -> None:
    ctx = context(story_table([{"id": "s-one", "age_h": None}]))
    assert until_us(ctx, VALIDATORS, Candidates(np.array([0], np.int32), np.ones(1, np.uint32))) == FOREVER_US


class Counting(Timeless):
    """A validator that counts how often it is asked."""

    def __init__(self, name: str = "counting") -> None:
        self.name, self.times = name, 0

    def sources(self, ctx: Context, entries: Candidates) -> None:
        self.times += 1


def test_a_slate_found_suitable_is_not_judged_again_for_the_same_state_until_its_moment() -> None:
    ctx, slate = EVERYTHING
    counting = Counting()
    found, until = all_suitable(ctx, (counting,), slate)
    assert until == FOREVER_US
    known = replace(slate, info=replace(slate.info, suitable_for=found, suitable_until_us=ctx.now_us + 10))
    for start in (0, 7, N - 5, N - 3, N):
        judged, unjudged = suitable(ctx, (Counting(),), slate, start, 5), suitable(ctx, (counting,), known, start, 5)
        assert (unjudged.next_index, unjudged.looked_at, unjudged.dropped) == (judged.next_index, judged.looked_at, {})
        for name in ("rows", "sources"):
            assert getattr(unjudged.entries, name).tolist() == getattr(judged.entries, name).tolist()
        assert {k: v.tolist() for k, v in unjudged.entries.columns.items()} == {
            k: v.tolist() for k, v in judged.entries.columns.items()
        }
    assert counting.times == 1
    others = [replace(ctx, now_us=ctx.now_us + by) for by in (-1, 10)]
    acted = replace(ctx.user.state, digest=b"another")
    others += [replace(ctx, user=User(acted, ctx.story_table)), context(WORLD, settings=DAY_OLD)]
    for other in others:
        before = counting.times
        suitable(other, (counting,), known, 0, 5)
        assert counting.times == before + 1
    renamed = Counting("another")
    suitable(ctx, (renamed,), known, 0, 5)
    assert renamed.times == 1


def test_a_slate_with_one_unsuitable_entry_is_judged_on_every_page() -> None:
    ctx, slate = EVERYTHING
    assert all_suitable(ctx, (Refusing("one", {3}),), slate) == ("", 0)
    assert all_suitable(ctx, (Refusing("one", {3}, mask=1),), slate) == ("", 0)

"""Reading a slate: whatever drops, the page is filled from what follows, and every drop is counted once per pagination session."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.keys import hash64
from online.columns import Bits, Candidates
from online.components import default_components
from online.context import Context
from online.feed.presenting import items
from online.pipeline import Pipeline
from online.slates.slate import Slate
from online.slates.slate_making import slate_of
from online.story_table.updates import updated
from online.user.user import EdgeChange
from online.validators.page import suitable
from tests.online.small_world import context, everything, ids, story_table
from tests.online.test_rules import interactions

N = 120
WORLD = story_table([{"id": f"s{i:03}", "age_h": float(N - i)} for i in range(N)])


class Refusing:
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
    return items(ctx, made_by.components, page.entries, 0), page.dropped


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
        assert (shown, dropped) == ([], {"unfollowed": 1})
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

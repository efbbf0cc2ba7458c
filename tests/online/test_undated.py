"""Stories and reads of which nobody knows when: never too old, never new, of no age, told without a date."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from rich.console import Console

from features import formulas
from features.times import HOUR_US, UNDATED, micros
from online.annotators.history import History
from online.annotators.recency import Recency
from online.columns import Candidates
from online.components import default_components
from online.feed.presenting import items, known_document
from online.http.schemas import Item
from online.postprocessors.explore import eligible
from online.selection import best
from online.slates.slate_making import slate_of
from online.story_table.dates import newer_than, newest
from online.story_table.table import StoryTable
from online.streams.archive_files import convert
from rex.cli.printing import print_feed
from tests.online.conftest import USERS, FeedServer
from tests.online.small_world import NOW, context, everything, ids, story_table

STORIES: list[dict[str, Any]] = [
    {"id": "s-undated", "age_h": None},
    {"id": "s-also undated", "age_h": None},
    {"id": "s-old", "age_h": 24 * 366},
    {"id": "s-new", "age_h": 24.0},
]
WORLD = story_table(STORIES)
NOW_US = micros(NOW)


def by_id(values: np.ndarray) -> dict[str, float]:
    return dict(zip(ids(WORLD, everything(WORLD)), values.tolist(), strict=True))


def ranked(of: StoryTable) -> Candidates:
    """Every story, of one score."""
    every = everything(of)
    return replace(every, columns={"score": np.zeros(len(every), np.float32)})


def test_an_age_is_not_a_number_where_there_is_no_date() -> None:
    hours = formulas.age_hours(np.array([UNDATED, NOW_US - HOUR_US]), NOW_US)
    assert hours.dtype == np.float32
    np.testing.assert_array_equal(hours, np.array([np.nan, 1.0], np.float32))
    at_shown = formulas.age_hours(np.array([UNDATED, 0]), np.array([NOW_US, HOUR_US]))
    np.testing.assert_array_equal(at_shown, np.array([np.nan, 1.0], np.float32))


def test_an_undated_story_has_the_registered_recency() -> None:
    recency = by_id(Recency().columns(context(WORLD), everything(WORLD))["recency"])
    assert recency["s-undated"] == 0.0
    assert recency["s-new"] == 0.5, "a day is a half-life"


def test_the_read_gap_is_absent_without_both_dates() -> None:
    read_at = np.sort(np.array([UNDATED, NOW_US, UNDATED]))
    published = np.array([UNDATED, NOW_US - HOUR_US])
    assert formulas.read_gap_h(published, read_at).tolist() == [8760.0, 1.0]
    assert formulas.read_gap_h(published, read_at[:2]).tolist() == [8760.0, 8760.0], "no read has a date"
    known = {"read": ["s-new", "s-old"], "read_at": [NOW_US, UNDATED]}
    gap = by_id(History().columns(context(WORLD, **known), everything(WORLD))["read_gap_h"])
    assert gap == {"s-undated": 8760.0, "s-also undated": 8760.0, "s-old": 8760.0, "s-new": 24.0}


def test_an_undated_story_is_never_too_old_nor_dated_ahead() -> None:
    rule = next(rule for rule in default_components().rules if rule.name == "too_old")
    drops = rule.drops(context(WORLD), everything(WORLD))
    assert drops is not None
    assert ids(WORLD, everything(WORLD).take(drops)) == ["s-old"]


def test_an_undated_story_is_not_drawn_as_a_fresh_one() -> None:
    assert ids(WORLD, everything(WORLD).take(eligible(context(WORLD), everything(WORLD)))) == ["s-new"]


def test_ties_in_score_leave_undated_stories_behind() -> None:
    rows = np.arange(len(WORLD), dtype=np.int32)
    order = best(np.zeros(len(WORLD), np.float32), rows, len(WORLD), WORLD.published_at)
    assert [WORLD.story_id(row) for row in order] == ["s-new", "s-old", "s-undated", "s-also undated"]


def test_a_page_and_a_withdrawal_tell_of_an_undated_story_that_it_has_no_date() -> None:
    ctx = context(WORLD)
    told = {item["story_id"]: item for item in items(ctx, ranked(WORLD), 0)}
    assert told["s-undated"]["published_at"] is None
    assert Item.model_validate(told["s-undated"]).published_at is None
    document = known_document(WORLD, "s-undated")
    assert document is not None
    assert document["published_at"] is None


def test_the_withdrawal_of_an_undated_story_is_archived() -> None:
    withdrawn = {**(known_document(WORLD, "s-undated") or {}), "deleted_at": "2026-01-31T12:00:00Z"}
    converted = convert([(b"1-0", {b"story": orjson.dumps(withdrawn)})])
    assert converted.refused == {}
    assert converted.tables["stories", ""]["published_at"].to_pylist() == [None]


def test_a_feed_without_dates_is_printed() -> None:
    item = {"story_id": "s1", "author_id": "a", "publication_id": None, "published_at": None, "position": 0, "title": None,
            "reason": "", "score": 1.0, "sources": []}  # fmt: skip
    slate = {"snapshot": "v", "model": "m", "candidates": 1, "cached": False, "id": "x"}
    console = Console(file=io.StringIO(), width=200)
    print_feed(console, "u", {"items": [item], "slate": slate, "degraded": []}, {"stages": []})
    assert "s1" in console.file.getvalue()  # type: ignore[attr-defined]


def test_what_was_newest_of_undated_stories_alone_survives_a_slate() -> None:
    of = story_table(STORIES[:2])
    assert newest(of, NOW_US) == (UNDATED, "s-undated")
    slate = slate_of(context(of), ranked(of), 2)
    assert slate.decode(slate.encode()).watermark == slate.watermark
    assert not len(newer_than(of, UNDATED, "s-undated", NOW_US))


@pytest.mark.parametrize("undated", [1, 20])
def test_pages_of_undated_stories_are_paged_kept_and_withdrawn(served: FeedServer, undated: int) -> None:
    """20: all of them, so that time alone changes nothing about what may be shown."""
    stories = [
        {"id": f"s{i:02}", "author": f"a{i}", "age_h": None if i < undated else 1.0, "story_popularity": float(i)}
        for i in range(20)
    ]
    served.publish(stories, users=USERS, top=[(None, story["id"]) for story in stories])
    page = served.feed("u-new", limit=8)
    seen = [item["story_id"] for item in page["items"]]
    while page["next_cursor"]:
        page = served.feed("u-new", limit=8, cursor=page["next_cursor"])
        seen += [item["story_id"] for item in page["items"]]
    assert sorted(seen) == [story["id"] for story in stories]
    first = served.feed("u-new", limit=20)
    dates = {item["story_id"]: item["published_at"] for item in first["items"]}
    assert dates["s00"] is None
    assert (dates["s19"] is None) == (undated == 20)
    assert served.http.delete("/v1/stories/s00").status_code == 202
    assert "s00" not in [item["story_id"] for item in served.feed("u-new", limit=20)["items"]]

"""A story table that grows by the story stream, beside one built from scratch with the stories as they are in the end."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.keys import hash64
from features.near_duplicates import duplicate_key
from features.registry import BY_NAME, FEATURES
from features.snapshot import names_schema
from features.streams import StreamEntry
from features.times import micros
from online.annotators.history import History
from online.columns import Candidates, Rows
from online.providers.fresh_stories import FreshStories
from online.story_table.build import build_story_table
from online.story_table.dates import newer_than, newest
from online.story_table.names import SPARE_NAMES, Names
from online.story_table.story_change import StoryVersion
from online.story_table.story_columns import SPARE_ROWS
from online.story_table.table import StoryTable
from online.story_table.updates import NEVER, updated
from tests.online.small_world import NOW, context, everything, hours_ago, ids, manifest, story_table, tables
from tests.online.test_pipeline import feed, pipeline

Story = dict[str, Any]
RATES = {"a0": 0.5, "a1": 0.05}
"""author_open_rate of the snapshot's authors; the read rate is half of it, so that the two are not mistaken."""


def entries(*changes: Story) -> list[StreamEntry]:
    """Stream entries as the service writes them; `gone`: a withdrawal."""
    return [(f"{i + 1}-0".encode(), {b"story": orjson.dumps(document(change))}) for i, change in enumerate(changes)]


def document(story: Story) -> dict[str, Any]:
    return {
        "story_id": story["id"],
        "author_id": story.get("author", "a-someone"),
        "publication_id": story.get("publication"),
        "topics": story.get("topics", []),
        "language": story.get("language"),
        "title": story.get("title"),
        "published_at": hours_ago(story.get("age_h", 1.0)).isoformat(),
        "visibility": story.get("visibility", "public"),
        "members_only": story.get("members_only", False),
        "deleted_at": NOW.isoformat() if story.get("gone") else None,
    }


def with_key(story: Story) -> Story:
    """A story of the snapshot, with the key that the batch would have given it."""
    return {**story, "duplicate_key": duplicate_key(story.get("title"), hash64(story["id"]))}


def built(stories: list[Story]) -> StoryTable:
    """A story table from scratch, in which RATES are known of the authors, whether they have a story or not."""
    made = tables([with_key(story) for story in stories])
    names = made["authors"]["id"].to_pylist()
    names += [name for name in RATES if name not in names]
    rates = {
        "author_open_rate": [RATES.get(name, BY_NAME["author_open_rate"].default) for name in names],
        "author_read_rate": [
            RATES[name] / 2 if name in RATES else BY_NAME["author_read_rate"].default for name in names
        ],
    }
    columns = {"id": names, "hash": [hash64(name) for name in names], "author_followers": [0.0] * len(names), **rates}
    made["authors"] = pa.table(columns, schema=names_schema("author"))
    return build_story_table(manifest(made), made)


def unrated(story: Story) -> Story:
    """A newcomer as the next snapshot would have it: without events it has its author's rates."""
    rate = RATES.get(story["author"])
    return story if rate is None else {**story, "story_open_rate": rate, "story_read_rate": rate / 2}


def standing(of: StoryTable, rows: Rows) -> set[str]:
    """Ids of the stories that are in the world now: neither superseded nor withdrawn."""
    gone = np.zeros(len(of), bool) if of.withdrawn is None else of.withdrawn
    return {of.story_id(row) for row in rows.tolist() if row not in of.superseded.tolist() and not gone[row]}


NUMBERS = st.integers(0, 7)


@st.composite
def stories(draw: st.DrawFn, authors: int, topics: int) -> Story:
    number = draw(NUMBERS)
    return {
        "id": f"s{number}",
        "author": draw(st.sampled_from([None, *(f"a{i}" for i in range(authors))])),
        "publication": draw(st.sampled_from([None, "p0", "p1"])),
        "topics": draw(st.lists(st.sampled_from([f"t{i}" for i in range(topics)]), max_size=topics, unique=True)),
        "language": draw(st.sampled_from([None, "en", "pt"])),
        "title": draw(st.sampled_from([None, "One more", "more: ONE", "Another"])),
        "age_h": draw(st.integers(-3, 500))
        + number / 3600,  # no two stories of one date, which no order is promised for
        "visibility": draw(st.sampled_from(["public", "public", "followers", "unlisted"])),
        "members_only": draw(st.booleans()),
    }


changes = st.lists(
    st.one_of(stories(authors=5, topics=5), NUMBERS.map(lambda number: {"id": f"s{number}", "gone": True})), max_size=14
)
known = st.lists(stories(authors=2, topics=2), max_size=6, unique_by=lambda story: story["id"])
sizes = st.lists(st.integers(1, 5), min_size=14, max_size=14)


def cut(all_entries: list[StreamEntry], at: list[int]) -> Iterator[list[StreamEntry]]:
    rest = all_entries
    for size in at:
        if rest:
            yield rest[:size]
        rest = rest[size:]


def grown(of: StoryTable, these: list[StreamEntry], at: list[int]) -> StoryTable:
    for batch in cut(these, at):
        of = updated(of, batch)
    return of


def in_the_end(snapshot: list[Story], these: list[Story]) -> dict[str, Story]:
    """Every story that is not withdrawn, as it is after all changes, with what was learned of it."""
    now = {story["id"]: {**story, "story_popularity": 2.0, "vector": [1.0, 0.5]} for story in snapshot}
    learned = dict(now)
    for change in these:
        ident = change["id"]
        if change.get("gone"):
            now.pop(ident, None)
        else:
            first = learned.setdefault(ident, unrated(change))
            kept = {name: first[name] for name in ("story_popularity", "vector", *LEARNED) if name in first}
            now[ident] = {**change, **kept}
    return now


LEARNED = ("story_open_rate", "story_read_rate")


@settings(max_examples=150, deadline=None)
@given(known, changes, sizes)
def test_a_grown_world_answers_like_one_built_from_scratch(
    snapshot: list[Story], these: list[Story], at: list[int]
) -> None:
    end = in_the_end(snapshot, these)
    one = grown(built(list(in_the_end(snapshot, []).values())), entries(*these), at)
    other = built(list(end.values()))
    for ident in {f"s{i}" for i in range(8)}:
        row = one.row(ident)
        assert (row >= 0 and not (one.withdrawn is not None and one.withdrawn[row])) == (ident in end), ident
    rows = np.array([one.row(ident) for ident in end], np.int32)
    others = np.array([other.row(ident) for ident in end], np.int32)
    assert [one.story(int(row)) for row in rows] == [other.story(int(row)) for row in others]
    assert [one.story_id(int(row)) for row in rows] == list(end)
    assert one.duplicate_key[rows].tolist() == other.duplicate_key[others].tolist()
    assert one.vectors[:, rows].tolist() == other.vectors[:, others].tolist()
    for name in one.static:
        assert one.static[name][rows].tolist() == other.static[name][others].tolist(), name
    for names, of_one, of_other in (
        ("authors", one.rows_by_author, other.rows_by_author),
        ("publications", one.rows_by_publication, other.rows_by_publication),
        ("topic_names", one.rows_by_topic, other.rows_by_topic),
    ):
        for ident in ("a0", "a1", "a2", "a3", "a4", "p0", "p1", "t0", "t1", "t2", "t3", "t4"):
            found = of_one.of(one_of(getattr(one, names), ident))
            assert standing(one, found) == standing(other, of_other.of(one_of(getattr(other, names), ident))), ident


def one_of(names: Names, ident: str) -> np.ndarray:
    found = names.find([ident])
    return found[found >= 0]


PIPELINE = pipeline()
READERS: tuple[dict[str, Any], ...] = (
    {},
    {"follow_author": ["a0", "a3"], "mute_topic": ["t4"], "is_member": [1]},
    {"follow_topic": ["t2", "t0"], "block_author": ["a4"], "languages": ["pt"], "vector": np.array([0.5, 1.0])},
)


@settings(max_examples=60, deadline=None)
@given(known, changes, sizes)
def test_its_feeds_are_those_of_the_world_built_from_scratch(
    snapshot: list[Story], these: list[Story], at: list[int]
) -> None:
    one = grown(built(list(in_the_end(snapshot, []).values())), entries(*these), at)
    other = built(list(in_the_end(snapshot, these).values()))
    for reader in READERS:
        assert feed(context(one, **reader), PIPELINE) == feed(context(other, **reader), PIPELINE)


@settings(max_examples=60, deadline=None)
@given(known, changes, sizes, sizes)
def test_how_the_stream_is_cut_into_batches_changes_no_byte_and_no_older_world(
    snapshot: list[Story], these: list[Story], at: list[int], at_other: list[int]
) -> None:
    start = built(snapshot)
    before = bytes_of(start)
    one = grown(start, entries(*these), at)
    after_one = bytes_of(one)
    assert bytes_of(grown(start, entries(*these), at_other)) == after_one
    assert (bytes_of(start), bytes_of(one)) == (before, after_one)


def bytes_of(of: StoryTable) -> dict[str, Any]:
    arrays = {
        "withdrawn": of.withdrawn,
        "superseded": of.superseded,
        "since": of.author_since,
        "keys": of.duplicate_key,
    }
    arrays |= {name: getattr(of, name) for name in ("hashes", "author", "topics", "published_at", "vectors", "similar")}
    arrays |= of.static
    described = [(of.story_id(row), of.story(row)) for row in range(len(of))]
    return {name: None if array is None else array.tobytes() for name, array in arrays.items()} | {"stories": described}


@settings(max_examples=100, deadline=None)
@given(known, changes, st.integers(-4, 501), st.sampled_from(["", "s3", "s9"]))
def test_what_is_newest_and_what_is_newer_is_told_by_date_and_id(
    snapshot: list[Story], these: list[Story], hours: int, ident: str
) -> None:
    one = updated(built(snapshot), entries(*these))
    rows = np.setdiff1d(np.arange(len(one)), one.superseded).tolist()
    dated = sorted((int(one.published_at[row]), one.story_id(row), row) for row in rows)
    past = [date for date in dated if date[0] <= micros(NOW)]
    assert newest(one, micros(NOW)) == (past[-1][:2] if past else (0, ""))
    mark = (micros(hours_ago(hours + 3 / 3600)), ident)
    newer = sorted(row for *date, row in past if tuple(date) > mark)
    assert sorted(newer_than(one, *mark, micros(NOW)).tolist()) == newer


@settings(deadline=None)
@given(known, changes)
def test_an_author_is_known_since_the_earliest_row(snapshot: list[Story], these: list[Story]) -> None:
    one = updated(built(snapshot), entries(*these))
    for index in range(len(one.authors)):
        dates = one.published_at[one.author == index].tolist()
        assert one.author_since[index] == min(dates, default=NEVER)
    assert one.author_since[-1] == NEVER


def test_an_entry_that_the_snapshot_holds_already_adds_nothing() -> None:
    story: Story = {"id": "s-one", "author": "a-one", "topics": ["t-b", "t-a"], "title": "A title", "language": "en"}
    again = updated(story_table([story]), entries({**story, "topics": ["t-b", "t-a", "t-b"]}))
    assert (len(again), again.position) == (1, "1-0")


def test_a_changed_story_keeps_what_was_learned_of_it_and_takes_its_new_authors_features() -> None:
    old = built([{"id": "s-one", "author": "a0", "story_claps": 3.0, "vector": [1.0, 2.0], "similar": [("s-two", 0.5)]},
                 {"id": "s-two", "author": "a1"}])  # fmt: skip
    new = updated(old, entries({"id": "s-one", "author": "a1", "title": "Changed"}))
    row = new.row("s-one")
    assert (row, new.superseded.tolist(), new.current(np.array([old.row("s-one")])).tolist()) == (2, [0], [2])
    assert (new.static["story_claps"][row], new.vectors[:, row].tolist()) == (3.0, [1.0, 2.0])
    assert new.static["author_open_rate"][row] == np.float32(RATES["a1"])
    assert new.similar[row, 0] == old.row("s-two")
    assert (old.row("s-one"), len(old)) == (0, 2)


def test_an_entry_that_holds_no_story_is_passed_over_and_told(caplog: pytest.LogCaptureFixture) -> None:
    broken = [b"{", b"[]", b'{"story_id": 5}', b'{"story_id": "s", "published_at": "yesterday"}', b'{"story_id": "s"}']
    dated = b'{"story_id": "s", "published_at": "2026-01-31T00:00:00Z", %s}'
    broken += [dated % field for field in (b'"author_id": 5', b'"title": 5', b'"language": ["en"]')]
    broken += [dated % field for field in (b'"topics": [5]', b'"topics": "abc"', b'"publication_id": {}')]
    stream: list[StreamEntry] = [(f"{i}-0".encode(), {b"story": raw}) for i, raw in enumerate(broken, start=1)]
    with caplog.at_level(logging.ERROR):
        after = updated(
            story_table([]), [*stream, (b"98-0", {b"else": b""}), (b"99-0", entries({"id": "s-good"})[0][1])]
        )
    assert (len(after), after.position, len(caplog.records)) == (1, "99-0", len(broken) + 1)


def test_growing_beyond_the_room_kept_moves_the_columns_and_leaves_older_worlds_as_they_are() -> None:
    start = built([{"id": "s-old", "author": "a0", "topics": ["t0"]}])
    many = [
        {"id": f"s{i}", "author": f"new-{i}", "topics": [f"t{i % 7}", "t9"][: i % 3]} for i in range(SPARE_ROWS + 10)
    ]
    story_tables = [start]
    for batch in cut(entries(*many), [500] * 9):
        story_tables.append(updated(story_tables[-1], batch))
    assert len(story_tables[-1]) == SPARE_ROWS + 11
    assert len(story_tables[-1].authors) > SPARE_NAMES
    for of in story_tables:
        row = len(of) - 1
        assert of.author[row] == of.authors.find([of.authors.id(int(of.author[row]))])[0]
        assert of.story_id(row) == (f"s{row - 1}" if row else "s-old")
        assert of.authors.features["author_open_rate"][0] == np.float32(0.5)
        assert len(of.authors.features["author_open_rate"]) == len(of.authors) + 1
        assert of.authors.features["author_open_rate"][-1] == np.float32(BY_NAME["author_open_rate"].default)
    assert story_tables[-1].story(1) == StoryVersion("new-0", None, (), None, None, micros(hours_ago(1.0)), 0, False)


@pytest.mark.parametrize("newcomer_age_h", [2.0, 24 * 20.0, -1.0])
def test_fresh_stories_are_those_dated_inside_the_window_also_behind_the_snapshot(newcomer_age_h: float) -> None:
    start = story_table([{"id": f"s{days}", "age_h": days * 24.0} for days in (1, 10, 20)])
    after = updated(start, entries({"id": "s-recent", "age_h": 1.0}, {"id": "s-new", "age_h": newcomer_age_h}))
    bits = np.zeros(len(after), bool)
    bits[FreshStories().rows(context(after))] = True
    expected = {"s1", "s10", "s-recent"} | ({"s-new"} if newcomer_age_h == 2.0 else set())
    assert set(ids(after, everything(after).take(bits))) == expected


@settings(deadline=None)
@given(st.lists(st.integers(0, 29), unique=True, max_size=30))
def test_the_history_of_a_few_candidates_is_that_of_the_whole_table_to_the_bit(few: list[int]) -> None:
    of = updated(story_table(HISTORIED), entries({**HISTORIED[3], "title": "Changed"}, {"id": "s-new"}))
    reader = {"read": ["s04", "s05"], "read_at": [2, 1], "seen": ["s03", "s06"], "seen_times": [3, 1]}
    vector = {"vector": np.array([0.3, -0.7], np.float32)}
    asked, whole = context(of, **reader, **vector), everything(of)
    every = History().columns(asked, whole)
    rows = np.array(sorted(few), np.int32)
    candidates = Candidates(rows, np.ones(len(rows), np.uint32))
    for ctx in (asked, context(of, **reader, **vector)):  # all products computed before, or none
        for name, column in History().columns(ctx, candidates).items():
            assert column.tobytes() == every[name][rows].tobytes(), name
    assert "als_score" not in ctx.__dict__
    assert (every["similarity"] > 0).sum() == 2
    assert (every["unopened_impressions"] > 0).sum() == 2
    assert every["unopened_impressions"][of.row("s03")] == np.log1p(np.float32(3))


HISTORIED: list[Story] = [
    {
        "id": f"s{i:02}",
        "age_h": float(i + 1),
        "vector": [i / 7, 1 - i / 11],
        "similar": [("s03", 0.25 + i / 100), ("s10", 0.5)] if i in (4, 5) else [],
    }
    for i in range(30)
]


def test_every_feature_that_does_not_depend_on_the_user_is_a_column() -> None:
    static = updated(story_table([]), entries({"id": "s-new"})).static
    assert set(static) == {feature.name for feature in FEATURES if feature.entity != "user_story"}
    assert {len(column) for column in static.values()} == {1}

"""The columnar building blocks, against plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from online.selection import best, counted, united
from online.story_table.lookup import Grouping, HashIndex
from online.story_table.story_columns import StoryColumns

KEYS = st.lists(st.integers(-1, 5), max_size=60)


@given(st.sets(st.integers(-(2**63), 2**63 - 1)), st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_hash_index_finds_what_is_there_and_says_minus_one_for_the_rest(known: set[int], others: list[int]) -> None:
    hashes = np.array(sorted(known, key=lambda h: h % 97), np.int64)
    wanted = [*known, *others]
    where = {h: i for i, h in enumerate(hashes.tolist())}
    assert HashIndex(hashes).find(np.array(wanted, np.int64)).tolist() == [where.get(h, -1) for h in wanted]


@given(KEYS, st.lists(st.integers(0, 5), max_size=4))
def test_grouping_gives_the_rows_of_each_group_in_ascending_order(keys: list[int], groups: list[int]) -> None:
    expected = [row for group in groups for row, key in enumerate(keys) if key == group]
    assert Grouping(np.array(keys, np.int32), 6).of(np.array(groups, np.int32)).tolist() == expected


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), max_size=50), st.integers(1, 60))
def test_best_picks_the_greatest_scores_and_prefers_the_newer_row_among_equals(
    scores: list[float], wanted: int
) -> None:
    rows = np.arange(len(scores), dtype=np.int32) * 3
    published_at = np.arange(200)
    expected = sorted(range(len(scores)), key=lambda i: (-scores[i], -i))[:wanted]
    assert best(np.array(scores, np.float32), rows, wanted, published_at).tolist() == expected


def test_union_knows_when_it_is_the_whole_table() -> None:
    none = np.empty(0, np.int32)
    assert united([(slice(0, 3), np.uint32(1))], 3, none).whole
    part = united([(slice(1, 4), np.uint32(2)), (np.array([3], np.int32), np.uint32(1))], 4, np.array([2], np.int32))
    assert (part.whole, part.rows.tolist(), part.sources.tolist()) == (False, [1, 3], [2, 3])


HASHES = st.lists(st.tuples(st.integers(-9, 9), st.booleans()), max_size=40)


@given(st.sets(st.integers(-9, 9)), HASHES)
def test_a_hash_index_that_grows_finds_the_last_position_of_each(
    known: set[int], added: list[tuple[int, bool]]
) -> None:
    where = {hash_: i for i, hash_ in enumerate(sorted(known))}
    index, batch = HashIndex(np.array(sorted(known), np.int64)), []
    for position, (hash_, ends_batch) in enumerate(added, start=100):
        batch.append((hash_, position))
        where[hash_] = position
        if ends_batch:
            index, batch = index.extended(*np.array(batch, np.int64).T), []
    if batch:
        index = index.extended(*np.array(batch, np.int64).T)
    assert index.find(np.arange(-9, 10)).tolist() == [where.get(hash_, -1) for hash_ in range(-9, 10)]


@given(KEYS, st.lists(st.lists(st.integers(-1, 8), max_size=9), max_size=5), st.lists(st.integers(0, 8), max_size=4))
def test_a_grouping_that_grows_gives_what_was_added_behind_what_was_there(
    keys: list[int], batches: list[list[int]], groups: list[int]
) -> None:
    grouping, every = Grouping(np.array(keys, np.int32), 6), list(keys)
    for batch in batches:
        rows = np.arange(len(every), len(every) + len(batch), dtype=np.int32)
        grouping = grouping.extended(np.array(batch, np.int32), rows)
        every += batch
    found = [row for group in groups for row, key in enumerate(every) if key == group]
    expected = [row for row in found if row < len(keys)] + [row for row in found if row >= len(keys)]
    assert grouping.of(np.array(groups, np.int32)).tolist() == expected


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.integers(0, 4)), max_size=40), st.integers(1, 45))
def test_among_equals_best_prefers_the_newer_date_also_where_rows_are_not_in_that_order(
    made: list[tuple[float, int]], wanted: int
) -> None:
    scores, dates = np.array([score for score, _ in made], np.float32), np.array([date for _, date in made], np.int64)
    rows = np.arange(len(made), dtype=np.int32)
    expected = sorted(range(len(made)), key=lambda i: (-made[i][0], -made[i][1], -i))[:wanted]
    assert best(scores, rows, wanted, dates).tolist() == expected


def test_few_rows_are_united_as_many_are() -> None:
    rng = np.random.default_rng(0)
    superseded = np.array([3, 50, 700], np.int32)
    for n, size in ((1000, 5), (1000, 30), (1000, 900)):
        brought = [(rng.integers(0, n, size).astype(np.int32), np.uint32(1 << bit)) for bit in range(3)]
        bits = np.zeros(n, np.uint32)
        for rows, bit in brought:
            bits[rows] |= bit
        bits[superseded] = 0
        found = united(brought, n, superseded)
        assert found.rows.tolist() == np.flatnonzero(bits).tolist()
        assert found.sources.tolist() == bits[bits != 0].tolist()
    assert len(united([], 10, superseded[:0])) == 0


def test_a_row_beyond_the_table_is_refused() -> None:
    for rows in ([0, 10], [-1]):
        with pytest.raises(IndexError, match="in a table of 10"):
            counted(np.array(rows, np.int32), 10)


def test_new_rows_without_a_column_are_refused_and_change_nothing() -> None:
    hashes, dates = np.array([1, 2], np.int64), np.array([10, 20], np.int64)
    columns = StoryColumns({"hashes": hashes, "published_at": dates})
    with pytest.raises(ValueError, match="lack the columns published_at"):
        columns.append(2, {"hashes": np.array([3], np.int64)}, ["s3"], [None])
    assert (columns.filled, columns.new_ids) == (2, [])

"""Rows by date of publication: the snapshot's are in that order, and those behind them are few enough to look at each."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from features.times import UNDATED
from online.columns import Rows
from online.story_table.table import StoryTable


def dated(story_table: StoryTable, oldest_us: int, newest_us: int) -> tuple[slice, Rows]:
    """Rows dated from `oldest_us` to `newest_us`, both included: a slice of the snapshot's, and int32[m] behind them."""
    n = story_table.snapshot_rows
    first, end = np.searchsorted(story_table.published_at[:n], [oldest_us, newest_us + 1])
    behind = story_table.published_at[n:]
    rows = np.flatnonzero((behind >= oldest_us) & (behind <= newest_us)) + n
    return slice(int(first), int(max(first, end))), rows.astype(np.int32)


def newest(story_table: StoryTable, now_us: int) -> tuple[int, str]:
    """published_at (µs) and story_id of the newest row not dated after `now_us` nor superseded; (0, "") for none."""
    known, behind = dated(story_table, np.iinfo(np.int64).min, now_us)
    last = _last_standing(story_table, known.stop)
    behind = _standing(story_table, behind)
    behind = behind[story_table.published_at[behind] == story_table.published_at[behind].max(initial=UNDATED)]
    found = [(int(story_table.published_at[last]), story_table.story_id(last))] if last >= 0 else []
    if len(behind):
        story_id = max(story_table.columns.new_ids[row - story_table.snapshot_rows] for row in behind.tolist())
        found.append((int(story_table.published_at[behind[0]]), story_id))
    return max(found, default=(0, ""))


def newer_than(story_table: StoryTable, published_us: int, story_id: str, now_us: int) -> Rows:
    """int32[m]: rows newer than that by (published_at, story_id), not dated after `now_us` nor superseded."""
    n = story_table.snapshot_rows
    if (
        n == len(story_table) and n
    ):  # mostly nothing is newer, and the last row of a snapshot says so at a tenth of the cost
        last_us = int(story_table.published_at[n - 1])
        if last_us < published_us or (last_us == published_us and story_table.story_id(n - 1) <= story_id):
            return np.empty(0, np.int32)
    known, behind = dated(story_table, published_us, now_us)
    tied_to = np.searchsorted(story_table.published_at[: story_table.snapshot_rows], published_us, "right")
    tied = range(known.start, min(int(tied_to), known.stop))
    first = known.start + bisect_right(tied, story_id, key=story_table.story_id)  # ties are in the order of their ids
    if first == known.stop and not len(behind):
        return behind
    rows = _standing(story_table, np.concatenate((np.arange(first, known.stop, dtype=np.int32), behind)))
    late = np.flatnonzero((story_table.published_at[rows] == published_us) & (rows >= story_table.snapshot_rows))
    if not len(late):
        return rows
    return np.delete(rows, [at for at in late.tolist() if story_table.story_id(int(rows[at])) <= story_id])


def _standing(story_table: StoryTable, rows: Rows) -> Rows:
    return rows[~np.isin(rows, story_table.superseded)] if len(story_table.superseded) else rows


def _last_standing(story_table: StoryTable, end: int) -> int:
    """The last row before `end` that is not superseded; -1 for none."""
    superseded = story_table.superseded[: np.searchsorted(story_table.superseded, end)]
    gone = len(superseded)  # those just before `end` are as far from it as from the end of their list
    return end - 1 - int(np.count_nonzero(superseded - np.arange(gone) == end - gone))

"""Rows by date of publication: the snapshot's are in that order, and those behind them are few enough to look at each."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np

from features.times import UNDATED
from online.columns import Rows

if TYPE_CHECKING:
    from online.world import World


def dated(world: World, oldest_us: int, newest_us: int) -> tuple[slice, Rows]:
    """Rows dated from `oldest_us` to `newest_us`, both included: a slice of the snapshot's, and int32[m] behind them."""
    n = world.snapshot_rows
    first, end = np.searchsorted(world.published_at[:n], [oldest_us, newest_us + 1])
    behind = world.published_at[n:]
    rows = np.flatnonzero((behind >= oldest_us) & (behind <= newest_us)) + n
    return slice(int(first), int(max(first, end))), rows.astype(np.int32)


def newest(world: World, now_us: int) -> tuple[int, str]:
    """See `World.newest`."""
    known, behind = dated(world, np.iinfo(np.int64).min, now_us)
    last = _last_standing(world, known.stop)
    behind = _standing(world, behind)
    behind = behind[world.published_at[behind] == world.published_at[behind].max(initial=UNDATED)]
    found = [(int(world.published_at[last]), world.story_id(last))] if last >= 0 else []
    if len(behind):
        story_id = max(world.columns.new_ids[row - world.snapshot_rows] for row in behind.tolist())
        found.append((int(world.published_at[behind[0]]), story_id))
    return max(found, default=(0, ""))


def newer_than(world: World, published_us: int, story_id: str, now_us: int) -> Rows:
    """See `World.newer_than`."""
    known, behind = dated(world, published_us, now_us)
    tied_to = np.searchsorted(world.published_at[: world.snapshot_rows], published_us, "right")
    tied = range(known.start, min(int(tied_to), known.stop))
    first = known.start + bisect_right(tied, story_id, key=world.story_id)  # ties are in the order of their ids
    rows = _standing(world, np.concatenate((np.arange(first, known.stop, dtype=np.int32), behind)))
    late = np.flatnonzero((world.published_at[rows] == published_us) & (rows >= world.snapshot_rows))
    return np.delete(rows, [at for at in late.tolist() if world.story_id(int(rows[at])) <= story_id])


def _standing(world: World, rows: Rows) -> Rows:
    return rows[~np.isin(rows, world.superseded)] if len(world.superseded) else rows


def _last_standing(world: World, end: int) -> int:
    """The last row before `end` that is not superseded; -1 for none."""
    superseded = world.superseded[: np.searchsorted(world.superseded, end)]
    gone = len(superseded)  # those just before `end` are as far from it as from the end of their list
    return end - 1 - int(np.count_nonzero(superseded - np.arange(gone) == end - gone))

"""Rows by date of publication: the snapshot's are in that order, and those behind them are few enough to look at each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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
    last = known.stop - 1
    while last >= 0 and _superseded(world, last):
        last -= 1
    behind = _standing(world, behind)
    behind = behind[world.published_at[behind] == world.published_at[behind].max(initial=0)]
    found = [(int(world.published_at[last]), world.story_id(last))] if last >= 0 else []
    if len(behind):
        story_id = max(world.columns.new_ids[row - world.snapshot_rows] for row in behind.tolist())
        found.append((int(world.published_at[behind[0]]), story_id))
    return max(found, default=(0, ""))


def newer_than(world: World, published_us: int, story_id: str, now_us: int) -> Rows:
    """See `World.newer_than`."""
    known, behind = dated(world, published_us, now_us)
    rows = _standing(world, np.concatenate((np.arange(known.start, known.stop, dtype=np.int32), behind)))
    tied = np.flatnonzero(world.published_at[rows] == published_us)
    return np.delete(rows, [at for at in tied.tolist() if world.story_id(int(rows[at])) <= story_id])


def _standing(world: World, rows: Rows) -> Rows:
    return rows[~np.isin(rows, world.superseded)] if len(world.superseded) else rows


def _superseded(world: World, row: int) -> bool:
    at = int(np.searchsorted(world.superseded, row))
    return at < len(world.superseded) and int(world.superseded[at]) == row

"""Which rows of the story table belong in a user's timeline, and the newest of them."""

from __future__ import annotations

import numpy as np

from features.raw_datasets import VISIBILITIES
from online.columns import Bools, Rows
from online.story_table.lookup import one_of
from online.story_table.table import World
from online.timelines.targets import Follows

_UNLISTED, _FOLLOWERS = VISIBILITIES.index("unlisted"), VISIBILITIES.index("followers")


def rows_of(world: World, follows: Follows, now_us: int) -> Rows:
    """int32[m], ascending, each once: all deliverable rows of everything in `follows`."""
    authors = world.authors.by_hash.known(follows.authors)
    publications = world.publications.by_hash.known(follows.publications)
    rows = np.concatenate((world.rows_by_author.of(authors), world.rows_by_publication.of(publications)))
    return deliverable(world, follows, np.unique(rows), now_us)


def deliverable(world: World, follows: Follows, rows: Rows, now_us: int) -> Rows:
    """int32[≤ m]: those of `rows` that follows bring: in force, public (or for followers of an author who is followed),
    not dated ahead, and of nobody refused."""
    rows = rows[~one_of(rows, world.superseded)] if len(world.superseded) else rows
    author, publication = world.author.take(rows), world.publication.take(rows)
    visibility = world.visibility.take(rows)
    wanted = _among(world.authors.by_hash.known(follows.authors), author)
    wanted |= _among(world.publications.by_hash.known(follows.publications), publication) & (visibility != _FOLLOWERS)
    wanted &= (visibility != _UNLISTED) & (world.published_at.take(rows) <= now_us)
    wanted &= ~_among(world.authors.by_hash.known(follows.refused_authors), author)
    wanted &= ~_among(world.publications.by_hash.known(follows.refused_publications), publication)
    if world.withdrawn is not None:
        wanted &= ~world.withdrawn.take(rows)
    return rows[wanted]


def newest(world: World, rows: Rows, n: int) -> Rows:
    """int32[≤ n]: the newest of distinct `rows` by (published_at, story_id), newest first."""
    published = world.published_at.take(rows)
    if len(rows) > n:
        kept = published >= np.partition(published, -n)[-n]  # equally old ones stay until ids have decided
        rows, published = rows[kept], published[kept]
    order = np.lexsort((rows, published))[::-1]  # within the snapshot, rows are in the order of ids
    rows, published = rows[order], published[order]
    late = rows >= world.snapshot_rows
    if late.any():
        rows = _ties_by_id(world, rows, published, late)
    return rows[:n]


def _ties_by_id(world: World, rows: Rows, published: np.ndarray, late: Bools) -> Rows:
    """Orders rows of one date by id where one of them came behind the snapshot's."""
    same = published[1:] == published[:-1]
    tied = np.append(same, False) | np.insert(same, 0, False)
    rows = rows.copy()
    for date in np.unique(published[tied & late]).tolist():
        at = np.flatnonzero(published == date)
        rows[at] = sorted(rows[at].tolist(), key=world.story_id, reverse=True)
    return rows


def _among(indices: np.ndarray, values: np.ndarray) -> Bools:
    """bool[n]: which of `values` is one of `indices`."""
    return one_of(values, indices)

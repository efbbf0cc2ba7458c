"""Which rows of the story table belong in a user's timeline, and the newest of them."""

from __future__ import annotations

import numpy as np

from features.arrays import Bools
from features.raw_datasets import VISIBILITIES
from online.columns import Rows
from online.story_table.lookup import one_of
from online.story_table.table import StoryTable
from online.timelines.targets import Follows

_UNLISTED, _FOLLOWERS = VISIBILITIES.index("unlisted"), VISIBILITIES.index("followers")


def rows_of(story_table: StoryTable, follows: Follows, now_us: int) -> Rows:
    """int32[m], ascending, each once: all deliverable rows of everything in `follows`."""
    authors = story_table.authors.by_hash.known(follows.authors)
    publications = story_table.publications.by_hash.known(follows.publications)
    rows = np.concatenate((story_table.rows_by_author.of(authors), story_table.rows_by_publication.of(publications)))
    return deliverable(story_table, follows, np.unique(rows), now_us)


def deliverable(story_table: StoryTable, follows: Follows, rows: Rows, now_us: int) -> Rows:
    """int32[≤ m]: those of `rows` that follows bring: in force, public (or for followers of an author who is followed),
    not dated ahead, and of nobody refused."""
    rows = rows[~one_of(rows, story_table.superseded)] if len(story_table.superseded) else rows
    author, publication = story_table.author.take(rows), story_table.publication.take(rows)
    visibility = story_table.visibility.take(rows)
    wanted = _among(story_table.authors.by_hash.known(follows.authors), author)
    wanted |= _among(story_table.publications.by_hash.known(follows.publications), publication) & (
        visibility != _FOLLOWERS
    )
    wanted &= (visibility != _UNLISTED) & (story_table.published_at.take(rows) <= now_us)
    wanted &= ~_among(story_table.authors.by_hash.known(follows.refused_authors), author)
    wanted &= ~_among(story_table.publications.by_hash.known(follows.refused_publications), publication)
    if story_table.withdrawn is not None:
        wanted &= ~story_table.withdrawn.take(rows)
    return rows[wanted]


def newest(story_table: StoryTable, rows: Rows, n: int) -> Rows:
    """int32[≤ n]: the newest of distinct `rows` by (published_at, story_id), newest first."""
    published = story_table.published_at.take(rows)
    if len(rows) > n:
        kept = published >= np.partition(published, -n)[-n]  # equally old ones stay until ids have decided
        rows, published = rows[kept], published[kept]
    order = np.lexsort((rows, published))[::-1]  # within the snapshot, rows are in the order of ids
    rows, published = rows[order], published[order]
    late = rows >= story_table.snapshot_rows
    if late.any():
        rows = _ties_by_id(story_table, rows, published, late)
    return rows[:n]


def _ties_by_id(story_table: StoryTable, rows: Rows, published: np.ndarray, late: Bools) -> Rows:
    """Orders rows of one date by id where one of them came behind the snapshot's."""
    same = published[1:] == published[:-1]
    tied = np.append(same, False) | np.insert(same, 0, False)
    rows = rows.copy()
    for date in np.unique(published[tied & late]).tolist():
        at = np.flatnonzero(published == date)
        rows[at] = sorted(rows[at].tolist(), key=story_table.story_id, reverse=True)
    return rows


def _among(indices: np.ndarray, values: np.ndarray) -> Bools:
    """bool[n]: which of `values` is one of `indices`."""
    return one_of(values, indices)

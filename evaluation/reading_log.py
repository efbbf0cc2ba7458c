"""What users read, as arrays: the part of a raw lake that protocols split and baselines learn from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import F32, I32, I64, Bools, Micros
from features.duckdb_views import connect
from features.errors import BadInput
from features.interactions import INTERACTIONS
from features.keys import hash64_many

STRENGTHS = {one.name: one.evaluated for one in INTERACTIONS if one.evaluated}
SAYS_READ = tuple(name for name in STRENGTHS if name != "open")
"""Interactions that an evaluation takes for having read. A lake without any `read` is evaluated by its opens as well."""

_EVENTS = """
SELECT user_id, story_id, type, epoch_us(occurred_at) AS occurred,
       greatest(epoch_us(coalesce(received_at, occurred_at)), epoch_us(occurred_at)) AS known
FROM events WHERE type IN ({types}) AND user_id IS NOT NULL AND story_id IS NOT NULL AND occurred_at IS NOT NULL
ORDER BY occurred, user_id, story_id, type, known
"""
_STORIES = """
SELECT story_id, min(epoch_us(published_at)) AS published,
       coalesce(min(epoch_us(deleted_at)), 9223372036854775807) AS gone, any_value(author_id ORDER BY author_id) AS author
FROM stories WHERE story_id IS NOT NULL AND published_at IS NOT NULL GROUP BY story_id
"""


@dataclass(frozen=True)
class Log:
    """m interactions by time, exact repeats kept; n stories in the order of their hashes, so that a tie broken by index favours nobody."""

    user_ids: pa.Array
    """string[users], ascending"""
    story_ids: pa.Array
    """string[n]"""
    published_us: Micros
    gone_us: Micros
    """int64[n]: when withdrawn; FOREVER_US: never."""
    author: I32
    """int32[n]; -1: unknown"""
    user: I32
    story: I32
    at_us: Micros
    known_us: Micros
    """int64[m]: when it was received, never before it happened."""
    strength: F32

    def __len__(self) -> int:
        return len(self.user)

    @property
    def users(self) -> int:
        return len(self.user_ids)

    @property
    def stories(self) -> int:
        return len(self.story_ids)

    @property
    def authors(self) -> int:
        """How many different authors are known."""
        return int(self.author.max(initial=-1)) + 1

    @cached_property
    def pair(self) -> I64:
        """int64[m]: number of each interaction's (user, story), user by user."""
        return self.user.astype(np.int64) * self.stories + self.story

    @cached_property
    def first(self) -> Bools:
        """bool[m]: the first interaction of its (user, story), whatever is known when."""
        _, at = np.unique(self.pair, return_index=True)
        first = np.zeros(len(self), bool)
        first[at] = True
        return first

    def live(self, at_us: int) -> Bools:
        """bool[n]: published before that moment and not withdrawn by then."""
        return (self.published_us < at_us) & (self.gone_us > at_us)


def read_log(lake: Path) -> Log:
    """The log of a raw lake. BadInput when there are no reads or no stories."""
    with connect(lake) as db:
        kinds = {row[0] for row in db.execute("SELECT DISTINCT type FROM events").fetchall()}
        types = SAYS_READ if "read" in kinds else (*SAYS_READ, "open")
        interactions = db.sql(_EVENTS.format(types=", ".join(f"'{kind}'" for kind in types))).to_arrow_table()
        stories = db.sql(_STORIES).to_arrow_table()
    if not interactions.num_rows:
        raise BadInput(
            f"The lake at {lake} has no reads and no opens, so no ranking can be evaluated; bring events first."
        )
    return _log(interactions, stories)


def _log(interactions: pa.Table, stories: pa.Table) -> Log:
    stories = stories.take(pa.array(np.argsort(hash64_many(stories["story_id"].to_pylist()), kind="stable")))
    story = pc.index_in(interactions["story_id"], value_set=stories["story_id"].combine_chunks())
    interactions, story = interactions.filter(story.is_valid()), story.drop_null()
    user_ids = pc.unique(interactions["user_id"]).sort()
    authors = pc.unique(stories["author"].drop_null()).sort()
    author = pc.index_in(stories["author"], value_set=authors, skip_nulls=True).fill_null(-1)
    strength = np.array(list(STRENGTHS.values()), np.float32)
    kind = pc.index_in(interactions["type"], value_set=pa.array(list(STRENGTHS)))
    return Log(
        user_ids=user_ids,
        story_ids=stories["story_id"].combine_chunks(),
        published_us=stories["published"].to_numpy(),
        gone_us=stories["gone"].to_numpy(),
        author=author.to_numpy().astype(np.int32),
        user=pc.index_in(interactions["user_id"], value_set=user_ids).to_numpy().astype(np.int32),
        story=story.to_numpy().astype(np.int32),
        at_us=interactions["occurred"].to_numpy(),
        known_us=interactions["known"].to_numpy(),
        strength=strength[kind.to_numpy()],
    )

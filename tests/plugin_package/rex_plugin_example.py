"""One component of each kind, as another package brings them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from features.arrays import F32, Bools
from features.keys import hash64
from features.times import HOUR_US
from online.columns import Bits, Candidates, Rows
from online.context import Context
from online.protocols import Provider, Timeless, next_of
from online.rankers.protocol import Degrade, refused
from online.user.user import User


class FirstOfTopic(Provider):
    """The first story of every topic."""

    name = "first_of_topic"
    reason = "The first story about {topic}"
    group = "topics"

    def rows(self, ctx: Context) -> Rows:
        """int32[≤ topics]."""
        _, first = np.unique(ctx.story_table.topics[:, 0], return_index=True)
        return first[ctx.story_table.topics[first, 0] >= 0].astype(np.int32)

    def reason_for(self, user: User, row: int) -> str:
        """Names the topic."""
        table = user.story_table
        return self.reason.format(topic=table.topic_names.id(int(table.topics[row, 0])))


class NoBreakfastAfterNoon:
    """Stories by the author `breakfast`, from 12:00 UTC on."""

    name = "no_breakfast_after_noon"

    def drops(self, ctx: Context, candidates: Candidates) -> Bools | None:
        """bool[n]; None before noon."""
        if ctx.now_us // HOUR_US % 24 < 12:
            return None
        return _is_by(ctx, candidates, "breakfast")

    def until(self, ctx: Context, candidates: Candidates) -> int:
        """Noon or midnight, whichever is next."""
        half_days = ctx.now_us // (12 * HOUR_US) + np.arange(1, 3)
        return next_of(half_days * 12 * HOUR_US, ctx)


class Halved:
    """Half of the recency that the shipped annotator gives, in its place."""

    name = "halved"
    features: tuple[str, ...] = ("recency",)

    def columns(self, ctx: Context, candidates: Candidates) -> Mapping[str, F32]:
        """float32[n]."""
        return {"recency": candidates.columns["recency"] / 2}


class ByPopularity:
    """Popularity, less a little for age."""

    name = "by_popularity"
    inputs: tuple[str, ...] = ("story_popularity", "recency")

    def score(self, columns: Mapping[str, F32], n: int, degrade: Degrade = refused) -> F32:
        """float32[n]."""
        return columns["story_popularity"] + columns["recency"]

    def contributions(self, columns: Mapping[str, F32], n: int) -> Mapping[str, F32]:
        """float32[n] for each input."""
        return {name: columns[name] for name in self.inputs}


class OddRowsFirst:
    """Stories in odd rows of the table before the others."""

    name = "odd_rows_first"

    def apply(self, ctx: Context, ranked: Candidates) -> Candidates:
        """All of them."""
        return ranked.take(np.argsort(ranked.rows % 2 == 0, kind="stable"))


class NotAnyMore(Timeless):
    """Drops stories by the author `retired` on every read."""

    name = "not_any_more"

    def sources(self, ctx: Context, entries: Candidates) -> Bits | None:
        """uint32[n]."""
        return np.where(_is_by(ctx, entries, "retired"), np.uint32(0), entries.sources)


def _is_by(ctx: Context, candidates: Candidates, author_id: str) -> Bools:
    known = ctx.story_table.authors.by_hash.known(np.array([hash64(author_id)]))
    return np.isin(candidates.of(ctx.story_table.author), known)

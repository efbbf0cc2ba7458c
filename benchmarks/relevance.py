"""How much of the way from simple feeds to a perfect one Rex goes, measured by the simulated world's true interest.

All systems choose from the same stories: those that every rule admits for the user, right now.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.keys import hash64_many
from lake.simulator.world import World as Truth
from lake.simulator.world import load_world
from online.columns import Candidates, Rows
from online.context import Context
from online.feed.preparing import FeedRequest
from online.pipeline import Pipeline
from online.wiring import AppState

TOP = 20


@dataclass(frozen=True, slots=True)
class Relevance:
    """Mean true interest in the top 20 over users, per system."""

    feed: float
    chronological: float
    """Followed authors, publications and topics, newest first; then everything else, newest first."""
    popularity: float
    oracle: float
    """The 20 stories of greatest true interest."""
    users: int
    """How many users were measured."""

    @property
    def gap_closed(self) -> float:
        """(feed − best simple feed) / (oracle − best simple feed)."""
        best = max(self.chronological, self.popularity)
        return (self.feed - best) / (self.oracle - best)


def measure(rex: AppState, lake: Path, users: Iterable[str], wanted: int, now_us: int) -> Relevance:
    """The relevance of the loaded snapshot's feeds for the first `wanted` users who have stories to choose from.

    In a small world, someone who reads a rare language only may have fewer than 20 stories: there every feed is the same.
    """
    truth = load_world(lake)
    measured = (row for row in (_measure_one(rex, truth, user_id, now_us) for user_id in users) if row is not None)
    rows = np.array(list(itertools.islice(measured, wanted)))
    return Relevance(*(float(mean) for mean in rows.mean(axis=0)), users=len(rows))


def _measure_one(rex: AppState, truth: Truth, user_id: str, now_us: int) -> list[float] | None:
    ctx = rex.feeds.context(user_id, now_us)
    rows = _eligible(rex, ctx)
    if len(rows) <= TOP:
        return None
    interest = truth.interest([user_id], [ctx.story_table.story_id(int(row)) for row in rows])[0]
    page = rex.feeds.feed(FeedRequest(user_id, TOP, fresh=True), now_us)
    shown = ctx.story_table.by_hash.find(hash64_many([item["story_id"] for item in page["items"]]))
    orders = (
        np.flatnonzero(np.isin(rows, shown)),
        np.lexsort((-rows, ~np.isin(rows, _followed(ctx)))),
        np.argsort(-ctx.story_table.static["story_popularity"][rows], kind="stable"),
        np.argsort(-interest, kind="stable"),
    )
    return [float(interest[order[:TOP]].mean()) for order in orders]


def _eligible(rex: AppState, ctx: Context) -> Rows:
    """Rows of every story that no rule forbids, whether or not a provider brings it."""
    everything = Candidates(
        np.arange(len(ctx.story_table), dtype=np.int32), np.ones(len(ctx.story_table), np.uint32), whole=True
    )
    return Pipeline(rex.feeds.components, lambda ctx, slate: None).preprocess(ctx, everything).rows


def _followed(ctx: Context) -> Rows:
    world, user = ctx.story_table, ctx.user
    return np.concatenate(
        (
            world.rows_by_author.of(user.targets("follow", "author")),
            world.rows_by_publication.of(user.targets("follow", "publication")),
            world.rows_by_topic.of(user.targets("follow", "topic")),
        )
    )

"""The final order of a list: shares of sources, a guaranteed minimum for new authors, caps, promoted slots, places drawn at random.

How a block is filled, and what gives way to what, stands in blocks.py; this says what the demands are made of.
"""

from __future__ import annotations

import numpy as np

from features.arrays import Bools
from features.times import DAY_US
from online.columns import Candidates, Rows
from online.context import GROUPS, Context
from online.postprocessors.blocks import REASONS, Caps, Demands, Limits, RankedCandidates, fill
from online.postprocessors.explore import exploration_draws
from online.postprocessors.promoted import NO_SLOT
from online.settings import RankingSettings


class Blend:
    """Fills block after block with the best-ranked stories that shares, guaranteed minimum and caps admit."""

    name = "blend"

    def apply(self, ctx: Context, ranked: Candidates) -> Candidates:
        """All candidates, reordered as far as the slate reaches; what cannot get into it keeps its order behind."""
        slot = ranked.columns.get("slot", np.full(len(ranked), NO_SLOT, np.int32))
        pinned = np.flatnonzero(slot != NO_SLOT)
        pinned = pinned[np.argsort(slot[pinned])]
        group = np.array([GROUPS.index(source.group) for source in ctx.sources], np.int16).take(ranked.first_source())
        seen = RankedCandidates(_limits(ctx, ranked), group, _by_new_author(ctx, ranked), pinned, slot[pinned])
        filled = fill(seen, _demands(ctx.settings), exploration_draws(ctx, ranked))
        if (filled.propensity < 1).any():
            ranked.columns["propensity"] = filled.propensity
        after = ranked.take(filled.order)
        reason = np.where(slot == NO_SLOT, filled.reason, len(REASONS)).astype(np.uint8)
        ctx.trace.displaced(self.name, ranked, after, reason, (*REASONS, "promoted"))
        return after


def _demands(settings: RankingSettings) -> Demands:
    blend = settings.postprocess
    shares = tuple(getattr(blend, f"share_{group}") for group in GROUPS)
    return Demands(settings.cache.slate_size, blend.page_block, shares, blend.new_author_share)


def _limits(ctx: Context, ranked: Candidates) -> Limits:
    story_table, limits, today = ctx.story_table, ctx.settings.postprocess, _served_today(ctx)
    author = Caps(limits.max_per_author, limits.max_per_author_slate, limits.max_per_author_day)
    publication = Caps(limits.max_per_publication, limits.max_per_publication_slate, limits.max_per_publication_day)
    served = story_table.author.take(today), story_table.publication.take(today)
    return Limits(ranked.of(story_table.author), ranked.of(story_table.publication), (author, publication), served)


def _served_today(ctx: Context) -> Rows:
    """int32[m]: one row for each entry that a slate has answered this UTC day."""
    served = ctx.build_inputs.served
    midnight = ctx.now_us - ctx.now_us % DAY_US
    return ctx.story_table.by_hash.known(served.stories[served.served_us >= midnight])


def _by_new_author(ctx: Context, ranked: Candidates) -> Bools:
    """bool[n]: the author's first story is younger than new_author_d."""
    author = ranked.of(ctx.story_table.author)
    since = ctx.story_table.author_since.take(author, mode="wrap")
    new: Bools = (author >= 0) & (since > ctx.now_us - int(ctx.settings.postprocess.new_author_d * DAY_US))
    return new

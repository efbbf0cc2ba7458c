"""A promoted entry is shown while its promotion runs."""

from __future__ import annotations

import numpy as np

from features.times import FOREVER_US
from online.columns import Bits, Candidates
from online.context import Context
from online.protocols import next_of
from online.slates.slate import ORGANIC


class PromotionEnded:
    """Drops promoted entries whose promotion has ended, or is not in the snapshot any more. No other takes the place."""

    name = "promotion_ended"

    def sources(self, ctx: Context, entries: Candidates) -> Bits | None:
        """uint32[n]: 0 where the promotion is over."""
        if "promotion" not in entries.columns:
            return None
        promotions, placed_by = ctx.story_table.promotions, entries.columns["promotion"]
        in_force = np.isin(placed_by, promotions.hashes[promotions.running(ctx.now_us)])
        return np.where(in_force | (placed_by == ORGANIC), entries.sources, np.uint32(0))

    def until(self, ctx: Context, entries: Candidates) -> int:
        """The next moment at which a promotion that placed one of them begins or ends."""
        if "promotion" not in entries.columns:
            return FOREVER_US
        promotions = ctx.story_table.promotions
        placing = np.isin(promotions.hashes, entries.columns["promotion"])
        return next_of(np.concatenate((promotions.starts_at[placing], promotions.ends_at[placing])), ctx)

"""Exploration: a stated share of a list goes to fresh stories that hardly anybody has read yet, drawn at random.

Without it a story that the ranker knows nothing of is never shown, and so never known. Blending leaves the places free and
draws once the rest of a block stands, so that every draw is uniform among those that may have the place, whatever is above.
"""

from __future__ import annotations

import numpy as np

from features.arrays import I32, Bools
from features.times import HOUR_US
from online.columns import Candidates
from online.context import Context
from online.postprocessors.blocks import ExplorationDraws
from online.slates.slate_making import slate_id

POOL = 500
"""Stories that the ranking left out and that take part nevertheless, the newest: ten for every draw of the largest slate."""
ONLY_DRAWN = "only_drawn"
"""Column of those."""


def eligible(ctx: Context, candidates: Candidates) -> Bools:
    """bool[n]: published within `explore_max_age_h`, by now read by at most `explore_max_users` (decayed).

    The features hold no count of impressions; a story that many have read has been shown often enough.
    """
    published = candidates.of(ctx.story_table.published_at)
    fresh = published > ctx.now_us - int(ctx.settings.postprocess.explore_max_age_h * HOUR_US)
    at = np.flatnonzero(fresh)
    popularity = ctx.story_table.static["story_popularity"].take(candidates.rows[at])
    fresh[at] = (published[at] <= ctx.now_us) & (
        popularity <= np.log1p(np.float32(ctx.settings.postprocess.explore_max_users))
    )
    return fresh


class ExplorationPool:
    """Keeps, for a draw alone, the newest eligible stories that the ranking left out."""

    name = "exploration_pool"

    def also(self, ctx: Context, scored: Candidates, kept: I32) -> I32:
        """int32[≤ POOL], by score, best first; marked in the column ONLY_DRAWN."""
        if not ctx.settings.postprocess.explore_share or len(kept) == len(scored):
            return kept[:0]
        left = eligible(ctx, scored)
        left[kept] = False
        at = np.flatnonzero(left)
        newest = at[np.argsort(ctx.story_table.published_at.take(scored.rows[at]), kind="stable")[-POOL:]]
        scored.columns[ONLY_DRAWN] = np.zeros(len(scored), bool)
        scored.columns[ONLY_DRAWN][newest] = True
        return newest[np.argsort(-scored.columns["score"][newest], kind="stable")].astype(np.int32)


def exploration_draws(ctx: Context, ranked: Candidates) -> ExplorationDraws | None:
    """What is to be drawn; None when nothing is. The draws follow from the slate's id alone, so that replays agree."""
    if not ctx.settings.postprocess.explore_share:
        return None
    may = eligible(ctx, ranked)
    only = ranked.columns.get(ONLY_DRAWN, np.zeros(len(ranked), bool))
    return ExplorationDraws(
        ctx.settings.postprocess.explore_share, may, only, np.random.default_rng(int(slate_id(ctx), 16))
    )
